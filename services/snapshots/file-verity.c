/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/file-verity.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fsverity.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "lib/fd.h"
#include "lib/macros.h"
#include "lib/path.h"

#define VERITY_DIGEST_MAX 64
#define VERITY_BLOCK 4096
/* "ALGORITHM:HEX" */
#define VERITY_TEXT_SIZE (16 + 2 * VERITY_DIGEST_MAX + 1)

static int measure(int file, char text[VERITY_TEXT_SIZE]) {
        union {
                struct fsverity_digest digest;
                char space[sizeof(struct fsverity_digest) + VERITY_DIGEST_MAX];
        } buffer = { .digest = { .digest_size = VERITY_DIGEST_MAX } };
        if (ioctl(file, FS_IOC_MEASURE_VERITY, &buffer.digest) < 0)
                return -errno;
        int n = snprintf(text, VERITY_TEXT_SIZE, "%u:", buffer.digest.digest_algorithm);
        const uint8_t *bytes = (const uint8_t *) buffer.space + offsetof(struct fsverity_digest, digest);
        for (size_t i = 0; i < MIN_OF(buffer.digest.digest_size, VERITY_DIGEST_MAX); i++)
                n += snprintf(text + n, VERITY_TEXT_SIZE - (size_t) n, "%02x", bytes[i]);
        return 0;
}

/* What the kernel or the file system says that does not have it. */
static bool is_missing(int error) {
        return error == ENOTTY || error == EOPNOTSUPP || error == ENOSYS;
}

int file_verity_enable(int directory, const char *note, int file) {
        char text[VERITY_TEXT_SIZE];
        const struct fsverity_enable_arg argument = {
                .version = 1,
                .hash_algorithm = FS_VERITY_HASH_ALG_SHA256,
                .block_size = VERITY_BLOCK,
        };
        if (ioctl(file, FS_IOC_ENABLE_VERITY, &argument) < 0 && errno != EEXIST)
                return is_missing(errno) ? 0 : -errno;
        int r = measure(file, text);
        return r < 0 ? r : fd_replace_file_at(directory, note, text, strlen(text), 0600);
}

int file_verity_check(int directory, const char *note, int file) {
        char text[VERITY_TEXT_SIZE];
        _cleanup_free_ char *expected = NULL;
        int r = fd_read_line_at(directory, note, &expected);
        if (r == -ENOENT)
                return 0;
        if (r < 0)
                return r;
        r = measure(file, text);
        if (r == -ENODATA || (r < 0 && is_missing(-r)))
                return -EUCLEAN; /* it had it once */
        return r < 0 ? r : strcmp(text, expected) == 0 ? 0 : -EUCLEAN;
}
