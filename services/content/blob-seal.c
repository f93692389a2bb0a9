/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/content/blob-seal.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <unistd.h>

static bool is_unsupported(int error) {
        /* -EINVAL: blocks of this size are not to be had here. */
        return error == ENOTTY || error == EOPNOTSUPP || error == EINVAL || error == ENOSYS;
}

int blob_seal(int file) {
        const struct fsverity_enable_arg argument = {
                .version = 1,
                .hash_algorithm = FS_VERITY_HASH_ALG_SHA256,
                .block_size = 4096,
        };
        if (ioctl(file, BLOB_SEAL_IOCTL, &argument) < 0 && errno != EEXIST)
                return is_unsupported(errno) ? 0 : -errno;
        return fsync(file) < 0 ? -errno : 1;
}

bool blob_seal_is_fatal(int r) {
        return r == -ENOSPC || r == -EDQUOT || r == -EIO || r == -EROFS;
}
