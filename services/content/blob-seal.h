/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* fs-verity for a blob, by a worker: the kernel checks from then on whatever is read of it. The daemon lets
 * its owner write to the file for as long (blob_begin_sealing()). */

#include <linux/fsverity.h>

/* What a worker's filter must let through. */
#define BLOB_SEAL_IOCTL FS_IOC_ENABLE_VERITY

/* As it is in messages. */
typedef enum BlobSeal {
        BLOB_SEAL_FAILED, /* of this file; or it was not tried */
        BLOB_SEAL_DONE,   /* it has fs-verity, for good */
        BLOB_SEAL_NONE,   /* the file system does not have that */
} BlobSeal;

/* Nobody may have it open for writing then. */
BlobSeal blob_seal(int file);
