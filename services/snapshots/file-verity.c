/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/file-verity.h"

#include <errno.h>
#include <linux/fsverity.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "lib/macros.h"

#define VERITY_DIGEST_MAX 64
#define VERITY_BLOCK 4096

/* What the kernel or the file system says that does not have it. */
static bool is_missing(int error) {
        return error == ENOTTY || error == EOPNOTSUPP || error == ENOSYS;
}

int file_verity_measure(int file, char ret[FILE_VERITY_SIZE]) {
        union {
                struct fsverity_digest digest;
                char space[sizeof(struct fsverity_digest) + VERITY_DIGEST_MAX];
        } buffer = { .digest = { .digest_size = VERITY_DIGEST_MAX } };
        if (ioctl(file, FS_IOC_MEASURE_VERITY, &buffer.digest) < 0)
                return errno == ENODATA || is_missing(errno) ? 0 : -errno;
        int n = snprintf(ret, FILE_VERITY_SIZE, "%u:", buffer.digest.digest_algorithm);
        const uint8_t *bytes = (const uint8_t *) buffer.space + offsetof(struct fsverity_digest, digest);
        for (size_t i = 0; i < MIN_OF(buffer.digest.digest_size, VERITY_DIGEST_MAX); i++)
                n += snprintf(ret + n, FILE_VERITY_SIZE - (size_t) n, "%02x", bytes[i]);
        return 1;
}

int file_verity_enable(int file) {
        const struct fsverity_enable_arg argument = {
                .version = 1,
                .hash_algorithm = FS_VERITY_HASH_ALG_SHA256,
                .block_size = VERITY_BLOCK,
        };
        return ioctl(file, FS_IOC_ENABLE_VERITY, &argument) >= 0 || errno == EEXIST || is_missing(errno)
                       ? 0
                       : -errno;
}

int file_verity_check(int file, const char *expected) {
        char text[FILE_VERITY_SIZE];
        int r = file_verity_measure(file, text);
        return r < 0 ? r : r > 0 && strcmp(text, expected) == 0 ? 0 : -EUCLEAN;
}
