/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/log.h"

#include <fcntl.h>
#include <unistd.h>

#include "lib/fd.h"
#include "tests/unit/check.h"

/* What a logging function writes to stderr. */
static char *captured(void (*function)(void)) {
        int pipes[2];
        CHECK_INT(pipe2(pipes, O_CLOEXEC), 0);
        int saved = fd_duplicate(STDERR_FILENO);
        CHECK_OK(saved);
        dup2(pipes[1], STDERR_FILENO);
        fd_close(pipes[1]);
        function();
        fflush(stderr);
        dup2(saved, STDERR_FILENO);
        fd_close(saved);
        char *text = NULL;
        CHECK_OK(fd_read_all(pipes[0], 65536, &text, NULL));
        fd_close(pipes[0]);
        return text;
}

static void write_each_level(void) {
        errno = EDOM;
        log_error("error %i", 1);
        log_warning("warning");
        log_info("info");
        log_debug("debug");
        log_write(LOG_NOTICE, (const char *const[]){ "CRT_CONTAINER=x", NULL }, "with fields");
}

static void shows_what_the_level_allows(void) {
        unsetenv("JOURNAL_STREAM");
        setenv("CRT_LOG_LEVEL", "info", 1);
        log_open("crt-test");
        _cleanup_free_ char *text = captured(write_each_level);
        CHECK_INT(errno, EDOM);
        CHECK_STRING(text, "crt-test: error 1\ncrt-test: warning\ncrt-test: info\ncrt-test: with fields\n");
        CHECK(log_is_enabled(LOG_INFO) && !log_is_enabled(LOG_DEBUG));
        log_set_level(LOG_ERR);
        _cleanup_free_ char *less = captured(write_each_level);
        CHECK_STRING(less, "crt-test: error 1\n");
}

static void the_level_comes_from_the_environment(void) {
        setenv("CRT_LOG_LEVEL", "debug", 1);
        log_open("crt-test");
        CHECK(log_is_enabled(LOG_DEBUG));
        setenv("CRT_LOG_LEVEL", "nonsense", 1);
        log_open("crt-test");
        CHECK(log_is_enabled(LOG_DEBUG));
}

static void another_stream_is_not_the_journal(void) {
        setenv("JOURNAL_STREAM", "1:2", 1);
        setenv("CRT_LOG_LEVEL", "err", 1);
        log_open("crt-test");
        _cleanup_free_ char *text = captured(write_each_level);
        CHECK_STRING(text, "crt-test: error 1\n");
        setenv("JOURNAL_STREAM", "garbage", 1);
        log_open("crt-test");
        unsetenv("JOURNAL_STREAM");
}

static void errno_survives_a_stream_that_is_closed(void) {
        int saved = fd_duplicate(STDERR_FILENO);
        CHECK_OK(saved);
        close(STDERR_FILENO);
        log_set_level(LOG_ERR);
        errno = EDOM;
        log_error("nobody reads this");
        int after = errno;
        dup2(saved, STDERR_FILENO);
        fd_close(saved);
        CHECK_INT(after, EDOM);
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(shows_what_the_level_allows),
                CHECK_CASE(the_level_comes_from_the_environment),
                CHECK_CASE(errno_survives_a_stream_that_is_closed),
                CHECK_CASE(another_stream_is_not_the_journal),
                {},
        });
}
