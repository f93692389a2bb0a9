/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* crt-verify: hashes one blob after the other as it is on the disk, when nobody else wants disk or processor
 * (verify-protocol.h). */

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "lib/disk-sample.h"
#include "lib/fd.h"
#include "lib/message.h"
#include "lib/sandbox.h"
#include "services/content/blob-seal.h"
#include "services/content/verify-protocol.h"

#define PIECE (1024U * 1024U)
#define PROGRESS_INTERVAL_MS 250
#define MEMORY_LIMIT (UINT64_C(256) << 20)

/* linux/ioprio.h of newer headers */
#define IOPRIO_WHO_PROCESS 1
#define IOPRIO_CLASS_IDLE 3
#define IOPRIO_CLASS_SHIFT 13

static int64_t now_ms(void) {
        struct timespec now;
        (void) clock_gettime(CLOCK_MONOTONIC, &now);
        return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int reply(const VerifyMessage *message) {
        return message_send(VERIFY_FD_CONTROL, message, sizeof(*message), NULL, 0);
}

/* What was in passing is not worth an error. */
static ssize_t read_piece(int file, uint8_t *buffer, uint64_t offset) {
        ssize_t n = pread(file, buffer, PIECE, (off_t) offset);
        if (n < 0 && errno == EIO) {
                (void) posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
                n = pread(file, buffer, PIECE, (off_t) offset);
        }
        return n < 0 ? -errno : n;
}

/* Clean pages are dropped before and after: what counts is what the disk says, and nobody is to lose what
 * they have in the cache for this. */
static int hash_file(int file, uint64_t size, uint8_t *buffer, DigestState *state) {
        int64_t reported = now_ms();
        (void) posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
        for (;;) {
                ssize_t n = read_piece(file, buffer, state->bytes);
                if (n < 0)
                        return (int) n;
                if (n == 0)
                        return state->bytes == size ? 0 : -EUCLEAN;
                digest_state_update(state, buffer, (size_t) n);
                (void) posix_fadvise(file, (off_t) state->bytes - n, n, POSIX_FADV_DONTNEED);
                if (state->bytes > size)
                        return -EUCLEAN;
                if (now_ms() - reported < PROGRESS_INTERVAL_MS)
                        continue;
                (void) reply(&(VerifyMessage){ .type = VERIFY_PROGRESS, .bytes = state->bytes });
                reported = now_ms();
        }
}

static int verify(int file, const VerifyMessage *order, uint8_t *buffer) {
        DigestState state;
        Digest digest;
        int r = digest_state_init(&state, order->digest.algorithm);
        if (r >= 0)
                r = hash_file(file, order->size, buffer, &state);
        if (r < 0)
                return r;
        digest_state_finish(&state, &digest);
        return digest_equal(&digest, &order->digest) ? 0 : -EUCLEAN;
}

/* What is hashed is what is sealed. */
static int serve_order(int file, const VerifyMessage *order, uint8_t *buffer) {
        int sealed = order->seal ? blob_seal(file) : 0;
        int r = verify(file, order, buffer);
        const VerifyMessage message = {
                .type = VERIFY_VERIFIED,
                .error = r,
                .bytes = order->size,
                .seal = sealed,
                .disk_reads = r == -EIO && disk_sample_is_readable(VERIFY_FD_SAMPLE),
        };
        return reply(&message);
}

static int serve(void) {
        _cleanup_free_ uint8_t *buffer = malloc(PIECE);
        if (!buffer)
                return -ENOMEM;
        for (;;) {
                VerifyMessage order;
                int fds[MESSAGE_FDS_MAX];
                size_t count = 0;
                ssize_t n = message_receive(VERIFY_FD_CONTROL, &order, sizeof(order), fds, &count);
                if (n <= 0)
                        return (int) n;
                int r = n == sizeof(order) && order.type == VERIFY_FILE && count == 1 ? 0 : -EPROTO;
                if (r >= 0)
                        r = serve_order(fds[0], &order, buffer);
                fd_close_many(fds, count);
                if (r < 0)
                        return r;
        }
}

int main(void) {
        const struct sched_param parameter = { 0 };
        static const unsigned long ioctls[] = { BLOB_SEAL_IOCTL };
        Sandbox sandbox = {
                .profile = SANDBOX_STREAM,
                .memory_limit = MEMORY_LIMIT,
                .ioctls = ioctls,
                .ioctl_count = ELEMENTS_OF(ioctls),
        };
        (void) syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_CLASS_IDLE << IOPRIO_CLASS_SHIFT);
        (void) sched_setscheduler(0, SCHED_IDLE, &parameter);
        int r = sandbox_enter(&sandbox, NULL);
        return r < 0 || serve() < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
