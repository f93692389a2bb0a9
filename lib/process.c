/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/process.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/strv.h"

/* Moves what the child is to have to 3, 4, … without one overwriting another: first out of the way, then
 * into place. */
static int child_arrange_fds(const ProcessSpawn *spawn, int *error_fd, int *program_fd) {
        int base = 3 + (int) spawn->fd_count + 1;
        int standard[3];

        int moved = fcntl(*error_fd, F_DUPFD_CLOEXEC, base);
        if (moved < 0)
                return -errno;
        *error_fd = moved;
        if (*program_fd >= 0) {
                moved = fcntl(*program_fd, F_DUPFD_CLOEXEC, base);
                if (moved < 0)
                        return -errno;
                *program_fd = moved;
        }

        for (int i = 0; i < 3; i++) {
                int from = spawn->standard[i];
                if (from < 0 && i < 2)
                        standard[i] =
                                open("/dev/null", i == 0 ? O_RDONLY | O_CLOEXEC : O_WRONLY | O_CLOEXEC);
                else
                        standard[i] = from < 0 ? STDERR_FILENO : from;
                standard[i] = fcntl(standard[i], F_DUPFD_CLOEXEC, base);
                if (standard[i] < 0)
                        return -errno;
        }

        int high[PROCESS_FDS_MAX];
        for (size_t i = 0; i < spawn->fd_count; i++) {
                high[i] = fcntl(spawn->fds[i], F_DUPFD_CLOEXEC, base);
                if (high[i] < 0)
                        return -errno;
        }
        for (size_t i = 0; i < spawn->fd_count; i++)
                if (dup2(high[i], 3 + (int) i) < 0)
                        return -errno;
        for (int i = 0; i < 3; i++)
                if (dup2(standard[i], i) < 0)
                        return -errno;
        return syscall(SYS_close_range, (unsigned) (3 + spawn->fd_count), ~0U, CLOSE_RANGE_CLOEXEC) < 0
                       ? -errno
                       : 0;
}

static int child_execute(const ProcessSpawn *spawn, int program_fd) {
        char *const *arguments = (char *const *) spawn->arguments;
        char *const *environment = spawn->environment ? (char *const *) spawn->environment : environ;
        if (program_fd >= 0)
                (void) execveat(program_fd, "", arguments, environment, AT_EMPTY_PATH);
        else
                (void) execve(spawn->path, arguments, environment);
        return -errno;
}

static _noreturn_ void child_run(const ProcessSpawn *spawn, int error_fd, pid_t parent) {
        int program_fd = spawn->program_fd;
        sigset_t none;
        int r = child_arrange_fds(spawn, &error_fd, &program_fd);
        if (r >= 0 && spawn->die_with_parent) {
                if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
                        r = -errno;
                else if (getppid() != (spawn->clone_flags & CLONE_NEWPID ? 0 : parent))
                        _exit(EXIT_FAILURE);
        }
        if (r >= 0) {
                (void) sigemptyset(&none);
                (void) sigprocmask(SIG_SETMASK, &none, NULL);
                (void) signal(SIGPIPE, SIG_DFL);
                if (spawn->directory && chdir(spawn->directory) < 0)
                        r = -errno;
                else
                        r = child_execute(spawn, program_fd);
        }
        (void) !write(error_fd, &r, sizeof(r));
        _exit(EXIT_FAILURE);
}

/* As fork(). clone3() keeps its flags in memory, so a unit with RestrictNamespaces= has none: ENOSYS. */
static long child_clone(const ProcessSpawn *spawn, int *ret_pidfd) {
        struct clone_args args = {
                .flags = CLONE_PIDFD | spawn->clone_flags | (spawn->cgroup_fd >= 0 ? CLONE_INTO_CGROUP : 0),
                .pidfd = (uint64_t) (uintptr_t) ret_pidfd,
                .exit_signal = SIGCHLD,
                .cgroup = spawn->cgroup_fd >= 0 ? (uint64_t) spawn->cgroup_fd : 0,
        };
        long pid = syscall(SYS_clone3, &args, sizeof(args));
        if (pid >= 0 || errno != ENOSYS || spawn->cgroup_fd >= 0)
                return pid;
        return syscall(SYS_clone, CLONE_PIDFD | spawn->clone_flags | SIGCHLD, NULL, ret_pidfd, NULL, NULL);
}

int process_spawn(const ProcessSpawn *spawn, pid_t *ret_pid, int *ret_pidfd) {
        assert(spawn->fd_count <= PROCESS_FDS_MAX);
        int errors[2], pidfd = -EBADF, child_error = 0;
        if (pipe2(errors, O_CLOEXEC) < 0)
                return -errno;

        pid_t parent = getpid();
        long pid = child_clone(spawn, &pidfd);
        if (pid < 0) {
                int r = -errno;
                fd_close_many(errors, 2);
                return r;
        }
        if (pid == 0)
                child_run(spawn, errors[1], parent);

        fd_close(errors[1]);
        ssize_t n = fd_read_full(errors[0], &child_error, sizeof(child_error));
        fd_close(errors[0]);
        if (n != 0) {
                (void) process_kill_and_reap(pidfd);
                return n == sizeof(child_error) && child_error < 0 ? child_error : -EIO;
        }
        if (ret_pid)
                *ret_pid = (pid_t) pid;
        *ret_pidfd = pidfd;
        return 0;
}

int process_open_pidfd(pid_t pid) {
        long fd = syscall(SYS_pidfd_open, pid, 0);
        return fd < 0 ? -errno : (int) fd;
}

int process_send_signal(int pidfd, int signal) {
        return syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0) < 0 ? -errno : 0;
}

int process_wait(int pidfd, int flags, siginfo_t *ret) {
        siginfo_t info = { 0 };
        int r;
        do
                r = waitid(P_PIDFD, (id_t) pidfd, &info, WEXITED | flags);
        while (r < 0 && errno == EINTR);
        if (r < 0)
                return -errno;
        if (info.si_pid == 0)
                return 0;
        if (ret)
                *ret = info;
        return 1;
}

int process_kill_and_reap(int pidfd) {
        if (pidfd < 0)
                return -EBADF;
        (void) process_send_signal(pidfd, SIGKILL);
        (void) process_wait(pidfd, 0, NULL);
        return fd_close(pidfd);
}

int process_exit_status(const siginfo_t *info) {
        return info->si_code == CLD_EXITED ? info->si_status : 128 + info->si_status;
}

int process_start_time(pid_t pid, uint64_t *ret) {
        char path[64];
        _cleanup_free_ char *text = NULL;
        (void) snprintf(path, sizeof(path), "/proc/%i/stat", pid);
        int r = fd_read_line_at(AT_FDCWD, path, &text);
        if (r < 0)
                return r == -ENOENT ? -ESRCH : r;

        /* Field 2 is the name in parentheses, which may itself hold spaces and parentheses. */
        char *p = strrchr(text, ')');
        for (unsigned field = 2; p && field < 22; field++)
                p = strchr(p + 1, ' ');
        if (!p)
                return -EIO;
        char *end = strchr(p + 1, ' ');
        if (end)
                *end = '\0';
        return string_to_uint64(p + 1, UINT64_MAX, ret);
}

int signal_from_string(const char *name) {
        uint64_t number;
        if (string_to_uint64(name, (uint64_t) SIGRTMAX, &number) >= 0)
                return number > 0 ? (int) number : -EINVAL;
        if (strncasecmp(name, "SIG", 3) == 0)
                name += 3;
        if (strncasecmp(name, "RTMIN", 5) == 0) {
                if (!name[5])
                        return SIGRTMIN;
                if (name[5] == '+' &&
                    string_to_uint64(name + 6, (uint64_t) (SIGRTMAX - SIGRTMIN), &number) >= 0)
                        return SIGRTMIN + (int) number;
                return -EINVAL;
        }
        for (int i = 1; i < NSIG; i++) {
                const char *known = sigabbrev_np(i);
                if (known && strcasecmp(known, name) == 0)
                        return i;
        }
        return -EINVAL;
}

const char *signal_to_string(int signal) {
        static char text[32];
        const char *name = sigabbrev_np(signal);
        if (name)
                (void) snprintf(text, sizeof(text), "SIG%s", name);
        else if (signal >= SIGRTMIN && signal <= SIGRTMAX)
                (void) snprintf(text, sizeof(text), "SIGRTMIN+%i", signal - SIGRTMIN);
        else
                return NULL;
        return text;
}
