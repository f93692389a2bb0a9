/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* crt-ingest: one ingest from the stream to synced bytes (ingest-protocol.h). Everything foreign passes
 * here, and there is nothing to be had: no file can be opened, no process started, no address reached. */

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/message.h"
#include "lib/sandbox.h"
#include "services/content/blob-seal.h"
#include "services/content/ingest-stream.h"

/* Commit usually follows the end of the stream at once; one that comes later gets a worker of its own. */
#define PATIENCE_MS 10000
#define MEMORY_LIMIT (UINT64_C(512) << 20)

static int reply(const IngestMessage *message) {
        return message_send(INGEST_FD_CONTROL, message, sizeof(*message), NULL, 0);
}

/* 1 and a message and its descriptors, 0 when there will be none. */
static int receive(int timeout_ms, IngestMessage *ret, int fds[MESSAGE_FDS_MAX], size_t *ret_fd_count) {
        struct pollfd control = { .fd = INGEST_FD_CONTROL, .events = POLLIN };
        int r = poll(&control, 1, timeout_ms);
        if (r <= 0)
                return r < 0 ? -errno : 0;
        ssize_t n = message_receive(INGEST_FD_CONTROL, ret, sizeof(*ret), fds, ret_fd_count);
        if (n <= 0)
                return (int) n;
        return n == sizeof(*ret) ? 1 : -EPROTO;
}

/* The file is the first one. A stream that did not end as was promised then has not synced it; any other
 * file costs nothing here. fs-verity comes last: after an error the ingest can be continued. */
static int sync_place(int *data, const int *fds, size_t count) {
        IngestMessage message = { .type = INGEST_SYNCED };
        if (count > 0 && fsync(fds[0]) < 0) {
                message.error = -errno;
                (void) ingest_checkpoint_fall_back(INGEST_FD_CHECKPOINT, *data);
        }
        for (size_t i = 1; i < count; i++)
                if (fsync(fds[i]) < 0 && message.error >= 0)
                        message.error = -errno;
        *data = fd_close(*data); /* open for writing; the next that is received may get its number */
        if (count > 0 && message.error >= 0)
                message.seal = blob_seal(fds[0]);
        if (blob_seal_is_fatal(message.seal))
                message.error = message.seal;
        return reply(&message);
}

/* Nobody has committed what was synced for that: if the power is lost before somebody does, it is still
 * known what it is. */
static int settle(void) {
        IngestMessage message = { .type = INGEST_PROGRESS };
        if (fsync(INGEST_FD_DIRECTORY) < 0)
                return -errno;
        int r = ingest_checkpoint_make_durable(INGEST_FD_CHECKPOINT, &message.durable);
        message.bytes = message.durable;
        return r < 0 ? r : reply(&message);
}

static int serve(void) {
        IngestMessage message, ended;
        int fds[MESSAGE_FDS_MAX], data = INGEST_FD_DATA;
        size_t fd_count = 0;

        int r = receive(-1, &message, fds, &fd_count);
        if (r <= 0)
                return r;
        if (message.type != INGEST_START || fd_count > 0)
                return -EPROTO;
        IngestStreamSpec spec = {
                .control = INGEST_FD_CONTROL,
                .stream = INGEST_FD_STREAM,
                .data = data,
                .checkpoint = INGEST_FD_CHECKPOINT,
                .directory = INGEST_FD_DIRECTORY,
                .start = &message,
        };
        ingest_stream_run(&spec, &ended);
        fd_close(INGEST_FD_STREAM); /* who still writes gets EPIPE */
        r = reply(&ended);

        /* FINISH may come too late, and is over then. */
        while (r >= 0 && (r = receive(PATIENCE_MS, &message, fds, &fd_count)) > 0) {
                if (message.type == INGEST_SYNC)
                        r = sync_place(&data, fds, fd_count);
                fd_close_many(fds, fd_count);
        }
        return r == 0 && ended.error >= 0 ? settle() : r;
}

int main(void) {
        static const unsigned long ioctls[] = { BLOB_SEAL_IOCTL };
        Sandbox sandbox = {
                .profile = SANDBOX_STREAM,
                .memory_limit = MEMORY_LIMIT,
                .ioctls = ioctls,
                .ioctl_count = ELEMENTS_OF(ioctls),
        };
        int r = sandbox_enter(&sandbox, NULL);
        if (r < 0) {
                IngestMessage ended = { .type = INGEST_ENDED, .error = r };
                (void) reply(&ended);
                return EXIT_FAILURE;
        }
        return serve() < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
