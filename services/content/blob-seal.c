/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/content/blob-seal.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <unistd.h>

BlobSeal blob_seal(int file) {
        const struct fsverity_enable_arg argument = {
                .version = 1,
                .hash_algorithm = FS_VERITY_HASH_ALG_SHA256,
                .block_size = 4096,
        };
        if (ioctl(file, BLOB_SEAL_IOCTL, &argument) < 0 && errno != EEXIST)
                return errno == ENOTTY || errno == EOPNOTSUPP ? BLOB_SEAL_NONE : BLOB_SEAL_FAILED;
        return fsync(file) < 0 ? BLOB_SEAL_FAILED : BLOB_SEAL_DONE;
}
