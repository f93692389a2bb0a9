/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/images/fetch-sink.h"

#include <errno.h>
#include <unistd.h>

#include "lib/fd.h"

int fetch_sink_open(FetchSink *sink, int fd, int tee, uint64_t offset) {
        sink->position = 0;
        sink->streams[0] = (FetchStream){ .fd = fd, .written = offset };
        sink->streams[1] = (FetchStream){ .fd = tee, .written = offset };
        for (size_t i = 0; i < FETCH_SINK_STREAMS; i++) {
                if (sink->streams[i].fd < 0)
                        continue;
                int r = fd_set_nonblocking(sink->streams[i].fd, true);
                if (r < 0)
                        return r;
        }
        return 0;
}

void fetch_sink_close(FetchSink *sink) {
        for (size_t i = 0; i < FETCH_SINK_STREAMS; i++)
                fd_closep(&sink->streams[i].fd);
}

/* Writes what of the bytes at position the stream lacks. */
static int stream_push(FetchStream *stream, uint64_t position, const char *data, size_t size) {
        stream->is_full = false;
        while (stream->written < position + size) {
                assert(stream->written >= position);
                size_t skip = (size_t) (stream->written - position);
                ssize_t n = write(stream->fd, data + skip, size - skip);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && errno == EAGAIN) {
                        stream->is_full = true;
                        return 0;
                }
                if (n < 0)
                        return -errno;
                stream->written += (uint64_t) n;
        }
        return 1;
}

int fetch_sink_push(FetchSink *sink, const void *data, size_t size) {
        bool all = true;
        for (size_t i = 0; i < FETCH_SINK_STREAMS; i++) {
                FetchStream *stream = &sink->streams[i];
                if (stream->fd < 0)
                        continue;
                int r = stream_push(stream, sink->position, data, size);
                if (r < 0 && i == 0)
                        return r;
                if (r < 0)
                        fd_closep(&stream->fd);
                else if (r == 0)
                        all = false;
        }
        if (all)
                sink->position += size;
        return all;
}

size_t fetch_sink_poll(const FetchSink *sink, bool wants_room, struct pollfd polls[FETCH_SINK_STREAMS]) {
        size_t n = 0;
        for (size_t i = 0; i < FETCH_SINK_STREAMS; i++) {
                const FetchStream *stream = &sink->streams[i];
                short events = wants_room && stream->is_full ? POLLOUT : 0;
                if (stream->fd >= 0)
                        polls[n++] = (struct pollfd){ .fd = stream->fd, .events = events };
        }
        return n;
}

int fetch_sink_polled(FetchSink *sink, const struct pollfd *polls, size_t count) {
        bool can_go_on = false;
        for (size_t i = 0; i < FETCH_SINK_STREAMS; i++)
                for (size_t k = 0; k < count; k++) {
                        FetchStream *stream = &sink->streams[i];
                        if (stream->fd < 0 || polls[k].fd != stream->fd || polls[k].revents == 0)
                                continue;
                        can_go_on |= stream->is_full;
                        if (!(polls[k].revents & (POLLERR | POLLHUP | POLLNVAL)))
                                continue;
                        if (i == 0)
                                return -EPIPE;
                        fd_closep(&stream->fd);
                }
        return can_go_on;
}
