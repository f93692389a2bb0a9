/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/oci-foreground.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/process.h"

int oci_foreground_begin(OciForeground *foreground, Fault *fault) {
        /* Those of a bug of this process itself keep their effect. */
        static const int own[] = {
                SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS, SIGPIPE, SIGURG
        };
        sigset_t all;
        (void) sigfillset(&all);
        for (size_t i = 0; i < ELEMENTS_OF(own); i++)
                (void) sigdelset(&all, own[i]);
        if (sigprocmask(SIG_SETMASK, &all, NULL) < 0)
                return -errno;
        foreground->signals = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
        return foreground->signals < 0 ? fault_set_errno(fault, -errno, "signals") : 0;
}

int oci_foreground_take_terminal(OciForeground *foreground, int master, Fault *fault) {
        int r = oci_terminal_open(master, &foreground->terminal);
        return r < 0 ? fault_set_errno(fault, r, "the terminal") : 0;
}

static void forward_signal(OciForeground *foreground, int pidfd) {
        struct signalfd_siginfo info;
        if (read(foreground->signals, &info, sizeof(info)) != sizeof(info) || info.ssi_signo == SIGCHLD)
                return;
        if (info.ssi_signo == SIGWINCH && foreground->terminal.master >= 0)
                oci_terminal_resize(&foreground->terminal);
        else
                (void) process_send_signal(pidfd, (int) info.ssi_signo);
}

/* SIGCHLD is the kernel's own word about the end; the pidfd tells of it, too. */
int oci_foreground_wait(OciForeground *foreground, int pidfd, Fault *fault) {
        OciTerminal *terminal = &foreground->terminal;
        struct pollfd wait[2 + OCI_TERMINAL_POLLS] = {
                { .fd = pidfd, .events = POLLIN },
                { .fd = foreground->signals, .events = POLLIN },
        };
        nfds_t count = terminal->master >= 0 ? ELEMENTS_OF(wait) : 2;
        for (;;) {
                if (count > 2)
                        oci_terminal_prepare(terminal, wait + 2);
                if (poll(wait, count, -1) < 0) {
                        if (errno == EINTR)
                                continue;
                        return fault_set_errno(fault, -errno, "waiting for the process");
                }
                if (wait[1].revents & POLLIN)
                        forward_signal(foreground, pidfd);
                if (count > 2)
                        oci_terminal_move(terminal, wait + 2);
                if (!(wait[0].revents & POLLIN))
                        continue;
                if (count > 2)
                        oci_terminal_drain(terminal);
                siginfo_t end;
                int r = process_wait(pidfd, 0, &end);
                return r < 0 ? fault_set_errno(fault, r, "waiting for the process")
                             : process_exit_status(&end);
        }
}

void oci_foreground_done(OciForeground *foreground) {
        oci_terminal_done(&foreground->terminal);
        foreground->signals = fd_close(foreground->signals);
}
