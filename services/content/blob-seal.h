/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* fs-verity for a blob, by a worker: the kernel checks from then on whatever is read of it. The daemon lets
 * its owner write to the file for as long (blob_set_writable()). */

#include <linux/fsverity.h>
#include <stdbool.h>

/* What a worker's filter must let through. */
#define BLOB_SEAL_IOCTL FS_IOC_ENABLE_VERITY

/* Nobody may have it open for writing then. true: it has fs-verity, for good. Not every file system can. */
bool blob_seal(int file);
