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

static int sync_directories(const int *fds, size_t count) {
        IngestMessage message = { .type = INGEST_SYNCED };
        for (size_t i = 0; i < count; i++)
                if (fsync(fds[i]) < 0 && message.error >= 0)
                        message.error = -errno;
        return reply(&message);
}

static int serve(void) {
        IngestMessage message, ended;
        int fds[MESSAGE_FDS_MAX];
        size_t fd_count = 0;

        int r = receive(-1, &message, fds, &fd_count);
        if (r <= 0)
                return r;
        if (message.type != INGEST_START || fd_count > 0)
                return -EPROTO;
        IngestStreamSpec spec = {
                .control = INGEST_FD_CONTROL,
                .stream = INGEST_FD_STREAM,
                .data = INGEST_FD_DATA,
                .checkpoint = INGEST_FD_CHECKPOINT,
                .start = &message,
        };
        ingest_stream_run(&spec, &ended);
        fd_close(INGEST_FD_STREAM); /* who still writes gets EPIPE */
        r = reply(&ended);

        /* FINISH may come too late, and is over then. */
        while (r >= 0 && (r = receive(PATIENCE_MS, &message, fds, &fd_count)) > 0) {
                if (message.type == INGEST_SYNC)
                        r = sync_directories(fds, fd_count);
                fd_close_many(fds, fd_count);
        }
        return r;
}

int main(void) {
        Sandbox sandbox = { .profile = SANDBOX_STREAM, .memory_limit = MEMORY_LIMIT };
        int r = sandbox_enter(&sandbox, NULL);
        if (r < 0) {
                IngestMessage ended = { .type = INGEST_ENDED, .error = r };
                (void) reply(&ended);
                return EXIT_FAILURE;
        }
        return serve() < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
