/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/manifest-input.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/fd.h"

#define BUFFER_SIZE ((size_t) 64 * 1024)
static_assert(BUFFER_SIZE > 2 * MANIFEST_RECORD_MAX, "a record is read at once");

/* Behind what is left of what was read before. */
static void fill(ManifestInput *input) {
        size_t left = input->end - input->start;
        memmove(input->buffer, input->buffer + input->start, left);
        input->start = 0;
        input->end = left;
        ssize_t n = fd_read_full(input->fd, input->buffer + left, BUFFER_SIZE - left);
        if (n > 0) {
                digest_state_update(&input->digest, input->buffer + left, (size_t) n);
                input->end += (size_t) n;
        } else if (n < 0)
                input->error = (int) n;
        input->ended = n < (ssize_t) (BUFFER_SIZE - left);
}

static int check(ManifestInput *input) {
        Digest digest;
        while (!input->ended) {
                input->start = input->end;
                fill(input);
        }
        if (input->error < 0)
                return input->error;
        digest_state_finish(&input->digest, &digest);
        return digest_equal(&digest, &input->expected);
}

int manifest_input_open(ManifestInput *input, int tree, const char *expected) {
        *input = (ManifestInput){ .buffer = malloc(BUFFER_SIZE) };
        input->fd = openat(tree, MANIFEST_NAME, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (input->fd < 0)
                return errno == ENOENT ? 0 : -errno;
        int r = input->buffer ? digest_parse(expected, &input->expected) : -ENOMEM;
        if (r >= 0)
                r = digest_state_init(&input->digest, input->expected.algorithm);
        if (r >= 0)
                r = check(input);
        if (r <= 0)
                return r;
        input->ended = false;
        input->start = input->end = 0;
        r = digest_state_init(&input->digest, input->expected.algorithm);
        return r < 0 ? r : lseek(input->fd, 0, SEEK_SET) < 0 ? -errno : 1;
}

const ManifestRecord *manifest_input_next(ManifestInput *input) {
        static _Alignas(ManifestRecord) char place[MANIFEST_RECORD_MAX];
        ManifestRecord *record = (ManifestRecord *) place;
        if (input->end - input->start < MANIFEST_RECORD_MAX && !input->ended)
                fill(input);
        size_t left = input->end - input->start;
        if (left < sizeof(*record))
                return NULL;
        memcpy(record, input->buffer + input->start, sizeof(*record));
        if (record->size < sizeof(*record) || record->size > MANIFEST_RECORD_MAX || record->size > left)
                return NULL;
        memcpy(place, input->buffer + input->start, record->size);
        place[MANIFEST_RECORD_MAX - 1] = '\0';
        return record;
}

void manifest_input_take(ManifestInput *input) {
        const ManifestRecord *record = manifest_input_next(input);
        input->start += record ? record->size : 0;
}

int manifest_input_check(ManifestInput *input) {
        return check(input);
}

void manifest_input_done(ManifestInput *input) {
        fd_close(input->fd);
        free(input->buffer);
}
