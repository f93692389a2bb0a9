/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/pager.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ctl/style.h"
#include "lib/fd.h"
#include "lib/process.h"
#include "lib/strv.h"

#define COMMAND_NOT_FOUND 127 /* of a shell */

static size_t count_lines(const char *text, size_t size) {
        size_t lines = 0;
        for (const char *p = text, *end = text + size; p < end; p++)
                if (*p == '\n')
                        lines++;
        return lines;
}

/* $SYSTEMD_PAGER and $PAGER are commands for a shell; empty or "cat" means none. */
static const char *pager_command(void) {
        const char *command = getenv("SYSTEMD_PAGER");
        if (!command)
                command = getenv("PAGER");
        if (!command)
                command = "less";
        return string_is_empty(command) || string_equal(command, "cat") ? NULL : command;
}

static int pager_run(const char *command, const char *text, size_t size) {
        _cleanup_strv_ char **environment = NULL;
        const char *less = getenv("SYSTEMD_LESS");
        int r = strv_copy((const char *const *) environ, &environment);
        if (r >= 0) {
                _cleanup_free_ char *assignment = NULL;
                if (asprintf(&assignment, "LESS=%s", less ? less : "FRSXMK") < 0)
                        return -ENOMEM;
                r = strv_set_environment(&environment, assignment);
        }
        /* Nobody who shows a list through less needs a shell out of it. */
        if (r >= 0 && !getenv("LESSSECURE"))
                r = strv_set_environment(&environment, "LESSSECURE=1");
        if (r < 0)
                return r;

        int pipe_fds[2];
        if (pipe2(pipe_fds, O_CLOEXEC) < 0)
                return -errno;
        _cleanup_close_ int read_end = pipe_fds[0], write_end = pipe_fds[1], pidfd = -EBADF;
        ProcessSpawn spawn = PROCESS_SPAWN_INIT;
        spawn.path = "/bin/sh";
        spawn.arguments = (const char *const[]){ "sh", "-c", command, NULL };
        spawn.environment = (const char *const *) environment;
        spawn.standard[0] = read_end;
        spawn.standard[1] = STDOUT_FILENO;
        r = process_spawn(&spawn, NULL, &pidfd);
        if (r < 0)
                return r;
        read_end = fd_close(read_end);
        (void) signal(SIGPIPE, SIG_IGN);
        (void) fd_write_all(write_end, text, size); /* a pager that is left early is no error */
        write_end = fd_close(write_end);
        (void) signal(SIGINT, SIG_IGN); /* it is the pager's while that is on the screen */
        siginfo_t info;
        r = process_wait(pidfd, 0, &info);
        if (r >= 0 && process_exit_status(&info) == COMMAND_NOT_FOUND)
                r = -ENOENT;
        return r;
}

int pager_show(const Context *context, const char *text, size_t size, Fault *fault) {
        const char *command = pager_command();
        if (!context->no_pager && command && style_is_terminal(STDOUT) &&
            count_lines(text, size) >= style_rows(STDOUT) && pager_run(command, text, size) >= 0)
                return 0;
        int r = fd_write_all(STDOUT_FILENO, text, size);
        return r < 0 && r != -EPIPE ? fault_set_errno(fault, r, "standard output") : 0;
}
