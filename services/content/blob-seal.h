/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* fs-verity for a blob, by a worker: the kernel checks from then on whatever is read of it. The daemon lets
 * its owner write to the file for as long (blob_begin_sealing()). */

#include <linux/fsverity.h>
#include <stdbool.h>

/* What a worker's filter must let through. */
#define BLOB_SEAL_IOCTL FS_IOC_ENABLE_VERITY

/* 1: it has fs-verity, for good. 0: the file system, or the kernel with files like this, does not have that.
 * -ENOSPC, -EDQUOT, -EIO, -EROFS: the disk is at fault (blob_seal_is_fatal()); any other error, as -ENOMEM
 * or -ETXTBSY, may be gone the next time. Nobody may have it open for writing. */
int blob_seal(int file);
bool blob_seal_is_fatal(int r);
