/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/content/ingest-checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC "crt-ing"
/* A write that the power cut off halfway spoils one place only. */
#define DURABLE_PLACES 2
#define PLACE_SIZE 4096

typedef struct DurableCheckpoint {
        IngestCheckpoint checkpoint;
        Digest digest; /* of that */
} DurableCheckpoint;

void ingest_checkpoint_init(IngestCheckpoint *checkpoint, const char *boot_id, DigestAlgorithm algorithm) {
        memset(checkpoint, 0, sizeof(*checkpoint));
        memcpy(checkpoint->magic, MAGIC, sizeof(MAGIC));
        (void) snprintf(checkpoint->boot_id, sizeof(checkpoint->boot_id), "%s", boot_id);
        checkpoint->state.algorithm = (uint32_t) algorithm;
}

static int write_place(int fd, const void *data, size_t size, off_t offset) {
        ssize_t n = pwrite(fd, data, size, offset);
        return n < 0 ? -errno : n == (ssize_t) size ? 0 : -ENOSPC;
}

/* Smaller than a page, and so whole or not at all for whoever reads it in this boot. */
int ingest_checkpoint_write(int fd, const IngestCheckpoint *checkpoint) {
        return write_place(fd, checkpoint, sizeof(*checkpoint), 0);
}

int ingest_checkpoint_write_durable(int fd, const IngestCheckpoint *checkpoint, unsigned turn) {
        DurableCheckpoint durable = { .checkpoint = *checkpoint };
        digest_of_short(checkpoint, sizeof(*checkpoint), &durable.digest);
        int r = write_place(fd, &durable, sizeof(durable),
                            PLACE_SIZE * (1 + (off_t) (turn % DURABLE_PLACES)));
        if (r < 0)
                return r;
        return fdatasync(fd) < 0 ? -errno : 0;
}

int ingest_checkpoint_make_durable(int fd, uint64_t *ret_bytes) {
        IngestCheckpoint checkpoint;
        ssize_t n = pread(fd, &checkpoint, sizeof(checkpoint), 0);
        if (n != sizeof(checkpoint))
                return n < 0 ? -errno : -ENODATA;
        int r = ingest_checkpoint_write_durable(fd, &checkpoint, 0);
        if (r >= 0)
                *ret_bytes = checkpoint.state.bytes;
        return r;
}

static bool is_usable(const IngestCheckpoint *read, DigestAlgorithm algorithm, uint64_t size) {
        return memcmp(read->magic, MAGIC, sizeof(MAGIC)) == 0 && digest_state_is_usable(&read->state) &&
               read->state.algorithm == (uint32_t) algorithm && read->state.bytes <= size;
}

/* The durable one with the most bytes; 1 if there is one. */
static int read_durable(int fd, DigestAlgorithm algorithm, uint64_t size, IngestCheckpoint *ret) {
        int found = 0;
        for (unsigned turn = 0; turn < DURABLE_PLACES; turn++) {
                DurableCheckpoint durable;
                Digest digest;
                ssize_t n = pread(fd, &durable, sizeof(durable), PLACE_SIZE * (1 + (off_t) turn));
                if (n < 0)
                        return -errno;
                if (n != sizeof(durable))
                        continue;
                digest_of_short(&durable.checkpoint, sizeof(durable.checkpoint), &digest);
                if (!digest_equal(&digest, &durable.digest) ||
                    !is_usable(&durable.checkpoint, algorithm, size) ||
                    (found && durable.checkpoint.state.bytes <= ret->state.bytes))
                        continue;
                *ret = durable.checkpoint;
                found = 1;
        }
        return found;
}

static void resume_from(const IngestCheckpoint *read, IngestCheckpoint *expected, IngestResume *ret) {
        char boot_id[BOOT_ID_SIZE];
        memcpy(boot_id, expected->boot_id, sizeof(boot_id));
        *expected = *read;
        memcpy(expected->boot_id, boot_id, sizeof(boot_id));
        *ret = (IngestResume){ .offset = read->state.bytes, .complete = read->complete > 0 };
}

bool ingest_data_is_whole(int data) {
        int flags = fcntl(data, F_GETFL);
        return flags >= 0 && (flags & O_ACCMODE) == O_RDONLY;
}

int ingest_checkpoint_read(int checkpoint, int data, IngestCheckpoint *expected, IngestResume *ret) {
        DigestAlgorithm algorithm = (DigestAlgorithm) expected->state.algorithm;
        IngestCheckpoint read;
        struct stat st;

        ssize_t n = pread(checkpoint, &read, sizeof(read), 0);
        if (n < 0 || fstat(data, &st) < 0)
                return -errno;
        *ret = (IngestResume){ 0 };
        uint64_t size = (uint64_t) st.st_size;
        bool same_boot = n == sizeof(read) && memcmp(read.boot_id, expected->boot_id, BOOT_ID_SIZE) == 0;
        int r = same_boot && is_usable(&read, algorithm, size)
                        ? 1
                        : read_durable(checkpoint, algorithm, size, &read);
        if (r > 0)
                resume_from(&read, expected, ret);
        if (r >= 0 && ingest_data_is_whole(data))
                *ret = (IngestResume){ .offset = size, .complete = true };
        return r < 0 ? r : 0;
}

int ingest_checkpoint_fall_back(int checkpoint, int data) {
        IngestCheckpoint first, durable;
        struct stat st;

        ssize_t n = pread(checkpoint, &first, sizeof(first), 0);
        if (n < 0 || fstat(data, &st) < 0)
                return -errno;
        int r = n != sizeof(first) ? 0
                                   : read_durable(checkpoint, (DigestAlgorithm) first.state.algorithm,
                                                  (uint64_t) st.st_size, &durable);
        if (r < 0)
                return r;
        if (r == 0)
                return ftruncate(checkpoint, 0) < 0 || ftruncate(data, 0) < 0 ? -errno : 0;
        memcpy(durable.boot_id, first.boot_id, sizeof(durable.boot_id));
        r = ingest_checkpoint_write(checkpoint, &durable);
        if (r >= 0 && ftruncate(data, (off_t) durable.state.bytes) < 0)
                r = -errno;
        return r;
}
