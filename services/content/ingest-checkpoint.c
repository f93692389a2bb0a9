/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/content/ingest-checkpoint.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC "crt-ing"

void ingest_checkpoint_init(IngestCheckpoint *checkpoint, const char *boot_id, DigestAlgorithm algorithm) {
        memset(checkpoint, 0, sizeof(*checkpoint));
        memcpy(checkpoint->magic, MAGIC, sizeof(MAGIC));
        (void) snprintf(checkpoint->boot_id, sizeof(checkpoint->boot_id), "%s", boot_id);
        (void) digest_state_init(&checkpoint->state, algorithm);
}

/* Smaller than a page, and so whole or not at all for whoever reads it in this boot. */
int ingest_checkpoint_write(int fd, const IngestCheckpoint *checkpoint) {
        ssize_t n = pwrite(fd, checkpoint, sizeof(*checkpoint), 0);
        return n < 0 ? -errno : n == sizeof(*checkpoint) ? 0 : -ENOSPC;
}

static bool is_usable(const IngestCheckpoint *read, const IngestCheckpoint *expected) {
        return memcmp(read->magic, MAGIC, sizeof(MAGIC)) == 0 && digest_state_is_usable(&read->state) &&
               read->state.algorithm == expected->state.algorithm;
}

int ingest_checkpoint_read(int checkpoint, int data, IngestCheckpoint *expected, bool has_digest,
                           IngestResume *ret) {
        IngestCheckpoint read;
        struct stat st;

        ssize_t n = pread(checkpoint, &read, sizeof(read), 0);
        if (n < 0 || fstat(data, &st) < 0)
                return -errno;
        *ret = (IngestResume){ 0 };
        if (n != sizeof(read) || !is_usable(&read, expected))
                return 0;

        uint64_t size = (uint64_t) st.st_size;
        if (memcmp(read.boot_id, expected->boot_id, sizeof(read.boot_id)) != 0) {
                if (has_digest)
                        *ret = (IngestResume){
                                .offset = MIN_OF(read.state.bytes, size),
                                .rehash = true,
                                .complete = read.complete && read.state.bytes == size,
                        };
                return 0;
        }
        if (read.state.bytes > size)
                return 0;
        *expected = read;
        *ret = (IngestResume){ .offset = read.state.bytes, .complete = read.complete > 0 };
        return 0;
}
