/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Where fetched bytes go: a stream into Content, and perhaps a second one into an unpacking. Both get every
 * byte once, however often a download begins again and wherever it does. */

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/macros.h"

#define FETCH_SINK_STREAMS 2

typedef struct FetchStream {
        int fd; /* -EBADF: closed, or never there */
        uint64_t written;
        bool is_full;
} FetchStream;

typedef struct FetchSink {
        FetchStream streams[FETCH_SINK_STREAMS]; /* the first is the one that counts */
        uint64_t position;                       /* of the next byte of the answer */
} FetchSink;

#define FETCH_SINK_INIT ((FetchSink){ .streams = { { .fd = -EBADF }, { .fd = -EBADF } } })

/* Takes the descriptors over; tee may be -EBADF. offset: bytes that both have already. */
int fetch_sink_open(FetchSink *sink, int fd, int tee, uint64_t offset);
void fetch_sink_close(FetchSink *sink);
static inline bool fetch_sink_is_open(const FetchSink *sink) {
        return sink->streams[0].fd >= 0;
}
/* Bytes that are in the first stream. */
static inline uint64_t fetch_sink_written(const FetchSink *sink) {
        return sink->streams[0].written;
}

/* 1: all of it went to where it was lacking. 0: a stream is full: give the same bytes again. -EPIPE: nobody
 * reads the first stream any more; that of the second is let go in silence. */
int fetch_sink_push(FetchSink *sink, const void *data, size_t size);

/* What to wait for: the end of each stream's reader and, if it is wanted, room in those that are full. The
 * number of entries that were set. */
size_t fetch_sink_poll(const FetchSink *sink, bool wants_room, struct pollfd polls[FETCH_SINK_STREAMS]);
/* What came of it, among others. 1: a stream that was full is worth another try. -EPIPE as above, without a
 * byte to write. */
int fetch_sink_polled(FetchSink *sink, const struct pollfd *polls, size_t count);
