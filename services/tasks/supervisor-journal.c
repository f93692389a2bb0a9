/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/tasks/supervisor-journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include "lib/fd.h"

#define JOURNAL_SOCKET "/run/systemd/journal/socket"
#define PARTIAL_FIELD "CRT_PARTIAL=1\n"
#define PAGE 4096U

static const char *const stream_names[JOURNAL_STREAMS] = { "stdout", "stderr" };
static const int stream_priorities[JOURNAL_STREAMS] = { LOG_INFO, LOG_ERR };

/* Only pages that were written to take memory. */
static char buffers[JOURNAL_STREAMS][JOURNAL_LINE_MAX] __attribute__((aligned(PAGE)));

void journal_init(Journal *journal) {
        *journal = (Journal){ .socket = -EBADF };
        for (size_t i = 0; i < JOURNAL_STREAMS; i++)
                journal->streams[i] = (JournalStream){ .pipe = -EBADF, .ended = true, .buffer = buffers[i] };
}

int journal_open(Journal *journal) {
        static const struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = JOURNAL_SOCKET };
        _cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        if (connect(fd, (const struct sockaddr *) &address, sizeof(address)) < 0)
                return errno == ENOENT || errno == ECONNREFUSED ? 0 : -errno;
        fd_close(journal->socket);
        journal->socket = TAKE_FD(fd);
        return 0;
}

int journal_add_stream(Journal *journal, size_t index, const char *namespace, const char *id,
                       int *ret_write_end) {
        JournalStream *stream = &journal->streams[index];
        int ends[2];
        int n = snprintf(stream->header, sizeof(stream->header),
                         "PRIORITY=%i\nSYSLOG_IDENTIFIER=%s\nCRT_CONTAINER=%s\nCRT_NAMESPACE=%s\n"
                         "CRT_STREAM=%s\n",
                         stream_priorities[index], id, id, namespace, stream_names[index]);
        if (n < 0 || (size_t) n >= sizeof(stream->header))
                return -ENAMETOOLONG;
        stream->header_size = (size_t) n;
        if (pipe2(ends, O_CLOEXEC) < 0)
                return -errno;
        int r = fd_set_nonblocking(ends[0], true);
        if (r < 0) {
                fd_close_many(ends, 2);
                return r;
        }
        stream->pipe = ends[0];
        stream->ended = false;
        *ret_write_end = ends[1];
        return 0;
}

/* One line without its newline. Only a full socket is the caller's business: a line that the journal refuses
 * is lost, for there is nobody to tell. */
static int send_line(Journal *journal, const JournalStream *stream, size_t size, bool partial) {
        struct iovec parts[] = {
                { (void *) stream->header, stream->header_size },
                { (void *) PARTIAL_FIELD, partial ? strlen(PARTIAL_FIELD) : 0 },
                { (void *) "MESSAGE=", strlen("MESSAGE=") },
                { stream->buffer, size },
                { (void *) "\n", 1 },
        };
        struct msghdr message = { .msg_iov = parts, .msg_iovlen = ELEMENTS_OF(parts) };
        for (int tries = 0; journal->socket >= 0 && tries < 2; tries++) {
                if (sendmsg(journal->socket, &message, MSG_NOSIGNAL) >= 0)
                        return 0;
                if (errno == EAGAIN)
                        return -EAGAIN;
                /* The journal's socket was made anew. */
                if (errno != ECONNREFUSED && errno != ENOTCONN && errno != ECONNRESET)
                        return 0;
                if (journal_open(journal) < 0)
                        return 0;
        }
        return 0;
}

static void consume(JournalStream *stream, size_t size) {
        stream->used -= size;
        memmove(stream->buffer, stream->buffer + size, stream->used);
}

/* Sends the lines that are in the buffer, and the rest too when nothing follows or the buffer is full. */
static int flush_stream(Journal *journal, JournalStream *stream) {
        while (stream->used > 0) {
                const char *end = memchr(stream->buffer, '\n', stream->used);
                bool full = stream->used == JOURNAL_LINE_MAX;
                if (!end && !full && !stream->ended)
                        return 0;
                size_t size = end ? (size_t) (end - stream->buffer) : stream->used;
                int r = send_line(journal, stream, size, !end && !stream->ended);
                if (r < 0) {
                        journal->blocked = true;
                        return r;
                }
                consume(stream, size + (end ? 1 : 0));
        }
        return 0;
}

/* A burst of output leaves nothing behind in memory. */
static void trim_buffer(const JournalStream *stream) {
        size_t keep = (stream->used + PAGE - 1) / PAGE * PAGE;
        if (keep < PAGE)
                keep = PAGE;
        (void) madvise(stream->buffer + keep, JOURNAL_LINE_MAX - keep, MADV_DONTNEED);
}

int journal_stream_read(Journal *journal, size_t index) {
        JournalStream *stream = &journal->streams[index];
        /* Bounded, so that a container that writes without end does not keep us from anything else. */
        for (unsigned rounds = 0; rounds < 4; rounds++) {
                int r = flush_stream(journal, stream);
                if (r < 0)
                        return r;
                if (stream->pipe < 0)
                        return 0;
                ssize_t n =
                        read(stream->pipe, stream->buffer + stream->used, JOURNAL_LINE_MAX - stream->used);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && errno == EAGAIN)
                        break;
                if (n <= 0) {
                        stream->pipe = fd_close(stream->pipe);
                        stream->ended = true;
                        r = flush_stream(journal, stream);
                        trim_buffer(stream);
                        return r;
                }
                stream->used += (size_t) n;
        }
        int r = flush_stream(journal, stream);
        trim_buffer(stream);
        return r < 0 ? r : 1;
}

int journal_resume(Journal *journal) {
        journal->blocked = false;
        for (size_t i = 0; i < JOURNAL_STREAMS; i++) {
                int r = flush_stream(journal, &journal->streams[i]);
                if (r < 0)
                        return r;
        }
        return 0;
}

bool journal_is_done(const Journal *journal) {
        for (size_t i = 0; i < JOURNAL_STREAMS; i++)
                if (journal->streams[i].pipe >= 0 || journal->streams[i].used > 0)
                        return false;
        return true;
}

void journal_done(Journal *journal) {
        for (size_t i = 0; i < JOURNAL_STREAMS; i++)
                journal->streams[i].pipe = fd_close(journal->streams[i].pipe);
        journal->socket = fd_close(journal->socket);
}
