/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "lib/fd.h"
#include "services/images/fetch-sink.h"
#include "tests/unit/check.h"

#define SMALL 4096

typedef struct Pipe {
        int read, write;
} Pipe;

static Pipe pipe_new(void) {
        int ends[2];
        CHECK(pipe2(ends, O_CLOEXEC | O_NONBLOCK) >= 0);
        CHECK(fcntl(ends[0], F_SETPIPE_SZ, SMALL) >= 0);
        return (Pipe){ ends[0], ends[1] };
}

static void drain(int fd, char *to, size_t *length) {
        ssize_t n;
        while ((n = read(fd, to + *length, 65536)) > 0)
                *length += (size_t) n;
}

static void fill(char *data, size_t size) {
        for (size_t i = 0; i < size; i++)
                data[i] = (char) (i * 7 + i / 251);
}

static void both_streams_get_every_byte_at_their_own_pace(void) {
        static char data[50000], first[200000], second[200000];
        Pipe a = pipe_new(), b = pipe_new();
        FetchSink sink = FETCH_SINK_INIT;
        struct pollfd polls[FETCH_SINK_STREAMS];
        size_t done = 0, first_size = 0, second_size = 0;

        fill(data, sizeof(data));
        CHECK_OK(fetch_sink_open(&sink, a.write, b.write, 0));
        while (done < sizeof(data)) {
                size_t piece = MIN_OF((size_t) 16384, sizeof(data) - done);
                int r;
                while ((r = fetch_sink_push(&sink, data + done, piece)) == 0) {
                        CHECK(fetch_sink_poll(&sink, true, polls) > 0);
                        /* Now one of them is read, now the other. */
                        if (first_size <= second_size)
                                drain(a.read, first, &first_size);
                        else
                                drain(b.read, second, &second_size);
                }
                CHECK_OK(r);
                done += piece;
        }
        drain(a.read, first, &first_size);
        drain(b.read, second, &second_size);
        CHECK(first_size == sizeof(data) && second_size == sizeof(data));
        CHECK(memcmp(first, data, sizeof(data)) == 0 && memcmp(second, data, sizeof(data)) == 0);
        fetch_sink_close(&sink);
        close(a.read);
        close(b.read);
}

static void an_answer_that_begins_anew_is_skipped(void) {
        char got[200];
        size_t size = 0;
        Pipe a = pipe_new();
        FetchSink sink = FETCH_SINK_INIT;

        CHECK_OK(fetch_sink_open(&sink, a.write, -EBADF, 4));
        CHECK_INT(fetch_sink_push(&sink, "01", 2), 1);
        CHECK_INT(fetch_sink_push(&sink, "2345", 4), 1);
        sink.position = 0;
        CHECK_INT(fetch_sink_push(&sink, "01234567", 8), 1);
        CHECK_INT(fetch_sink_written(&sink), 8);
        drain(a.read, got, &size);
        CHECK(size == 4 && memcmp(got, "4567", 4) == 0);
        fetch_sink_close(&sink);
        close(a.read);
}

static void an_unpacking_that_ended_is_let_go(void) {
        Pipe a = pipe_new(), b = pipe_new();
        FetchSink sink = FETCH_SINK_INIT;
        CHECK_OK(fetch_sink_open(&sink, a.write, b.write, 0));
        close(b.read);
        CHECK_INT(fetch_sink_push(&sink, "abc", 3), 1);
        CHECK(sink.streams[1].fd < 0);
        close(a.read);
        CHECK_ERROR(fetch_sink_push(&sink, "abc", 3), -EPIPE);
        fetch_sink_close(&sink);
}

static int polled(FetchSink *sink) {
        struct pollfd polls[FETCH_SINK_STREAMS];
        size_t n = fetch_sink_poll(sink, true, polls);
        CHECK(poll(polls, n, 0) >= 0);
        return fetch_sink_polled(sink, polls, n);
}

static void readers_that_end_are_noticed_without_a_byte(void) {
        Pipe a = pipe_new(), b = pipe_new();
        FetchSink sink = FETCH_SINK_INIT;
        CHECK_OK(fetch_sink_open(&sink, a.write, b.write, 0));
        CHECK_INT(polled(&sink), 0);
        close(b.read);
        CHECK_INT(polled(&sink), 0);
        CHECK(sink.streams[1].fd < 0 && fetch_sink_is_open(&sink));
        close(a.read);
        CHECK_ERROR(polled(&sink), -EPIPE);
        fetch_sink_close(&sink);
}

static void a_full_stream_waits_for_room_or_its_end(void) {
        static char data[2 * SMALL], got[65536];
        Pipe a = pipe_new(), b = pipe_new();
        FetchSink sink = FETCH_SINK_INIT;
        struct pollfd polls[FETCH_SINK_STREAMS];
        size_t size = 0;
        CHECK_OK(fetch_sink_open(&sink, a.write, b.write, 0));
        CHECK_INT(fetch_sink_push(&sink, data, sizeof(data)), 0);
        CHECK_INT(polled(&sink), 0);
        drain(a.read, got, &size);
        CHECK_INT(fetch_sink_poll(&sink, false, polls), 2);
        CHECK(polls[0].events == 0 && polls[1].events == 0);
        CHECK_INT(polled(&sink), 1);
        CHECK_INT(fetch_sink_push(&sink, data, sizeof(data)), 0);
        drain(a.read, got, &size);
        CHECK_INT(size, sizeof(data));
        CHECK_INT(fetch_sink_push(&sink, data, sizeof(data)), 0);
        CHECK_INT(polled(&sink), 0);
        close(b.read);
        CHECK_INT(polled(&sink), 1);
        CHECK_INT(fetch_sink_push(&sink, data, sizeof(data)), 1);
        fetch_sink_close(&sink);
        close(a.read);
}

int main(void) {
        signal(SIGPIPE, SIG_IGN);
        return check_run((const Check[]){
                CHECK_CASE(both_streams_get_every_byte_at_their_own_pace),
                CHECK_CASE(an_answer_that_begins_anew_is_skipped),
                CHECK_CASE(an_unpacking_that_ended_is_let_go),
                CHECK_CASE(readers_that_end_are_noticed_without_a_byte),
                CHECK_CASE(a_full_stream_waits_for_room_or_its_end),
                {},
        });
}
