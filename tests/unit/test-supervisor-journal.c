/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* services/tasks/supervisor-journal.c: lines become datagrams, with a socket in the place of the journal's.
 */

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/fd.h"
#include "services/tasks/supervisor-journal.h"
#include "tests/unit/check.h"

#define HEADER                                                                                              \
        "PRIORITY=6\nSYSLOG_IDENTIFIER=box\nCRT_CONTAINER=box\nCRT_NAMESPACE=system\nCRT_STREAM=stdout\n"

typedef struct Setup {
        Journal journal;
        int reader; /* the journal's end */
        int pipe;   /* the container's end */
} Setup;

static void setup(Setup *s) {
        int pair[2];
        CHECK_OK(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair));
        journal_init(&s->journal);
        s->journal.socket = pair[0];
        s->reader = pair[1];
        CHECK_OK(journal_add_stream(&s->journal, 0, "system", "box", &s->pipe));
}

static void setup_done(Setup *s) {
        journal_done(&s->journal);
        fd_close(s->reader);
        fd_close(s->pipe);
}

/* The next datagram without its header; "" if there is none. */
static const char *next(const Setup *s) {
        static char text[2 * JOURNAL_LINE_MAX];
        ssize_t n = recv(s->reader, text, sizeof(text) - 1, 0);
        if (n < 0)
                return "";
        text[n] = '\0';
        CHECK_FORMAT(strncmp(text, HEADER, strlen(HEADER)) == 0, "header is '%.200s'", text);
        return text + strlen(HEADER);
}

static void put(const Setup *s, const char *text) {
        CHECK_OK(fd_write_all(s->pipe, text, strlen(text)));
}

static void lines_become_messages(void) {
        _cleanup_(setup_done) Setup s = { 0 };
        setup(&s);
        put(&s, "one\n\ntwo\nthr");
        CHECK_INT(journal_stream_read(&s.journal, 0), 1);
        CHECK_STRING(next(&s), "MESSAGE=one\n");
        CHECK_STRING(next(&s), "MESSAGE=\n");
        CHECK_STRING(next(&s), "MESSAGE=two\n");
        CHECK_STRING(next(&s), ""); /* it may go on */
        put(&s, "ee\n");
        CHECK_INT(journal_stream_read(&s.journal, 0), 1);
        CHECK_STRING(next(&s), "MESSAGE=three\n");
        CHECK(!journal_is_done(&s.journal));
}

static void the_rest_is_sent_at_the_end(void) {
        _cleanup_(setup_done) Setup s = { 0 };
        setup(&s);
        put(&s, "last");
        s.pipe = fd_close(s.pipe);
        CHECK_INT(journal_stream_read(&s.journal, 0), 0);
        CHECK_STRING(next(&s), "MESSAGE=last\n");
        CHECK(journal_is_done(&s.journal));
}

static void long_lines_are_sent_in_parts(void) {
        _cleanup_(setup_done) Setup s = { 0 };
        setup(&s);
        static char text[JOURNAL_LINE_MAX + 100];
        memset(text, 'x', sizeof(text) - 2);
        text[sizeof(text) - 2] = '\n';
        CHECK_OK(fcntl(s.pipe, F_SETPIPE_SZ, 1 << 20));
        put(&s, text);
        CHECK_INT(journal_stream_read(&s.journal, 0), 1);
        const char *part = next(&s);
        CHECK_INT(strlen(part), strlen("CRT_PARTIAL=1\nMESSAGE=\n") + JOURNAL_LINE_MAX);
        CHECK(strncmp(part, "CRT_PARTIAL=1\nMESSAGE=xx", 24) == 0);
        CHECK_INT(strlen(next(&s)), strlen("MESSAGE=\n") + 98);
}

static void no_field_can_be_forged(void) {
        _cleanup_(setup_done) Setup s = { 0 };
        setup(&s);
        put(&s, "x\nPRIORITY=0\n");
        CHECK_INT(journal_stream_read(&s.journal, 0), 1);
        CHECK_STRING(next(&s), "MESSAGE=x\n");
        CHECK_STRING(next(&s), "MESSAGE=PRIORITY=0\n");
}

static void a_full_journal_holds_the_container_back(void) {
        _cleanup_(setup_done) Setup s = { 0 };
        setup(&s);
        int r = 1, sent = 0, arrived = 0;
        while (r == 1 && sent < 100000) {
                char line[32];
                (void) snprintf(line, sizeof(line), "line %i\n", sent++);
                put(&s, line);
                r = journal_stream_read(&s.journal, 0);
        }
        CHECK_INT(r, -EAGAIN);
        CHECK(s.journal.blocked);
        for (const char *text; (text = next(&s))[0];) {
                char expected[32];
                (void) snprintf(expected, sizeof(expected), "MESSAGE=line %i\n", arrived++);
                CHECK_STRING(text, expected);
                if (s.journal.blocked)
                        (void) journal_resume(&s.journal);
        }
        CHECK_INT(arrived, sent);
        CHECK(!s.journal.blocked);
}

static void without_a_journal_output_is_dropped(void) {
        _cleanup_(setup_done) Setup s = { 0 };
        setup(&s);
        s.journal.socket = fd_close(s.journal.socket);
        put(&s, "nobody hears\n");
        CHECK_INT(journal_stream_read(&s.journal, 0), 1);
        s.pipe = fd_close(s.pipe);
        CHECK_INT(journal_stream_read(&s.journal, 0), 0);
        CHECK(journal_is_done(&s.journal));
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(lines_become_messages),
                CHECK_CASE(the_rest_is_sent_at_the_end),
                CHECK_CASE(long_lines_are_sent_in_parts),
                CHECK_CASE(no_field_can_be_forged),
                CHECK_CASE(a_full_journal_holds_the_container_back),
                CHECK_CASE(without_a_journal_output_is_dropped),
                {},
        });
}
