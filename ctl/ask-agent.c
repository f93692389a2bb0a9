/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/ask-agent.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/process.h"

#define AGENT "/usr/bin/pkttyagent"
#define AGENT_START_MSEC 5000

void ask_agent_start(int *pidfd) {
        if (*pidfd >= 0 || geteuid() == 0 || !isatty(STDIN_FILENO))
                return;
        _cleanup_close_ int terminal = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
        if (terminal < 0)
                return;

        int notify[2];
        if (pipe2(notify, O_CLOEXEC) < 0)
                return;
        _cleanup_close_ int read_end = notify[0], write_end = notify[1];
        char process[24];
        snprintf(process, sizeof(process), "%ld", (long) getpid());

        ProcessSpawn spawn = PROCESS_SPAWN_INIT;
        spawn.path = AGENT;
        /* Its descriptor 3 is the first of ours: it closes that when it is ready. */
        spawn.arguments =
                (const char *const[]){ AGENT, "--notify-fd", "3", "--fallback", "--process", process, NULL };
        spawn.fds = &write_end;
        spawn.fd_count = 1;
        spawn.standard[0] = STDIN_FILENO;
        spawn.standard[1] = STDOUT_FILENO;
        spawn.die_with_parent = true;
        if (process_spawn(&spawn, NULL, pidfd) < 0)
                return;
        write_end = fd_close(write_end);
        struct pollfd poll_fd = { .fd = read_end, .events = POLLIN };
        (void) poll(&poll_fd, 1, AGENT_START_MSEC);
}

void ask_agent_stop(int *pidfd) {
        if (*pidfd < 0)
                return;
        /* It puts the terminal back in order on SIGTERM. */
        (void) process_send_signal(*pidfd, SIGTERM);
        (void) process_send_signal(*pidfd, SIGCONT);
        (void) process_wait(*pidfd, 0, NULL);
        *pidfd = fd_close(*pidfd);
}
