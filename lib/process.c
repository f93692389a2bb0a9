/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/process.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/strv.h"

#define FIRST_FD 3
#define ANCESTORS_MAX 128U

/* What is neither of 0 to 2 nor to be handed on. */
static int child_hide_rest(const ProcessSpawn *spawn) {
        return syscall(SYS_close_range, (unsigned) (FIRST_FD + spawn->fd_count), ~0U, CLOSE_RANGE_CLOEXEC) <
                               0
                       ? -errno
                       : 0;
}

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
        return child_hide_rest(spawn);
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

/* ---- a child that is never in possession of more than it is meant to have ---- */

/* Numbers below PROCESS_RESERVED are taken by what is nothing (this), and one of them is where a child finds
 * the socket that its descriptors come through. */
#define HANDED_MAX (PROCESS_FDS_MAX + 4)
static int nothing = -EBADF;
static int meeting_place = -EBADF;

int process_reserve_descriptors(void) {
        int last = -EBADF;
        if (nothing >= 0)
                return 0;
        for (;;) {
                int fd = last < 0 ? open("/", O_PATH | O_CLOEXEC) : fcntl(last, F_DUPFD_CLOEXEC, 3);
                if (fd < 0)
                        return -errno;
                if (fd >= PROCESS_RESERVED) {
                        nothing = fd;
                        break;
                }
                last = fd;
        }
        meeting_place = last; /* the highest */
        if (last < FIRST_FD + HANDED_MAX)
                nothing = fd_close(nothing);
        return nothing < 0 ? -EMFILE : 0;
}

typedef union HandedBuffer {
        char bytes[CMSG_SPACE(HANDED_MAX * sizeof(int))];
        struct cmsghdr header;
} HandedBuffer;

/* What ProcessSpawn names, in one order: of what is there. */
static size_t list_handed(ProcessSpawn *spawn, int *fds, int *ret[HANDED_MAX]) {
        size_t count = 0;
        for (size_t i = 0; i < spawn->fd_count; i++)
                ret[count++] = &fds[i];
        if (spawn->program_fd >= 0)
                ret[count++] = &spawn->program_fd;
        for (size_t i = 0; i < ELEMENTS_OF(spawn->standard); i++)
                if (spawn->standard[i] >= 0)
                        ret[count++] = &spawn->standard[i];
        return count;
}

static int hand_over(const ProcessSpawn *spawn, int socket) {
        ProcessSpawn copy = *spawn;
        int fds[PROCESS_FDS_MAX], *list[HANDED_MAX];
        HandedBuffer buffer = { 0 };
        char byte = 0;
        struct iovec vector = { .iov_base = &byte, .iov_len = 1 };
        struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1 };
        if (spawn->fd_count > 0)
                memcpy(fds, spawn->fds, spawn->fd_count * sizeof(int));
        size_t count = list_handed(&copy, fds, list);
        if (count > 0) {
                message.msg_control = &buffer;
                message.msg_controllen = CMSG_SPACE(count * sizeof(int));
                buffer.header = (struct cmsghdr){ .cmsg_level = SOL_SOCKET,
                                                  .cmsg_type = SCM_RIGHTS,
                                                  .cmsg_len = CMSG_LEN(count * sizeof(int)) };
                for (size_t i = 0; i < count; i++)
                        memcpy(CMSG_DATA(&buffer.header) + i * sizeof(int), list[i], sizeof(int));
        }
        return sendmsg(socket, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* In the child, which shares its parent's table so far: what is above the reserved numbers is not copied,
 * and so need not be closed. What it is sent takes the lowest numbers, in order: those that it is meant to
 * have, so that there is no second descriptor of any of it either. */
static int take_over(ProcessSpawn *spawn, int fds[PROCESS_FDS_MAX]) {
        int *list[HANDED_MAX];
        HandedBuffer buffer = { 0 };
        char byte;
        struct iovec vector = { .iov_base = &byte, .iov_len = 1 };
        struct msghdr message = {
                .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &buffer, .msg_controllen = sizeof(buffer)
        };
        size_t count = list_handed(spawn, fds, list);
        if (syscall(SYS_close_range, PROCESS_RESERVED, ~0U, CLOSE_RANGE_UNSHARE) < 0)
                return -errno;
        if (count > 0 && syscall(SYS_close_range, FIRST_FD, (unsigned) (FIRST_FD + count - 1), 0) < 0)
                return -errno;
        if (syscall(SYS_recvmsg, meeting_place, &message, 0) < 0)
                return -errno;
        if (count > 0) {
                const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
                if (!header || header->cmsg_len != CMSG_LEN(count * sizeof(int)))
                        return -EMFILE;
                for (size_t i = 0; i < count; i++)
                        memcpy(list[i], CMSG_DATA(header) + i * sizeof(int), sizeof(int));
        }
        for (size_t i = 0; i < spawn->fd_count; i++)
                if (fds[i] != FIRST_FD + (int) i)
                        return -EBADF;
        int done = 0;
        return write(meeting_place, &done, sizeof(done)) < 0 ? -errno : 0;
}

static int child_arrange_standard(const ProcessSpawn *spawn) {
        for (int i = 0; i < 3; i++) {
                int from = spawn->standard[i];
                if (from < 0 && i == STDERR_FILENO)
                        continue;
                if (from < 0)
                        from = open("/dev/null", i == 0 ? O_RDONLY | O_CLOEXEC : O_WRONLY | O_CLOEXEC);
                if (from < 0 || dup2(from, i) < 0)
                        return -errno;
        }
        return child_hide_rest(spawn);
}

/* ---- the child ---- */

static _noreturn_ void child_run(const ProcessSpawn *given, int error_fd, pid_t parent) {
        ProcessSpawn own = *given;
        const ProcessSpawn *spawn = &own;
        int fds[PROCESS_FDS_MAX];
        int r = nothing >= 0 ? take_over(&own, fds) : 0;
        int program_fd = spawn->program_fd;
        sigset_t none;
        if (r >= 0)
                r = nothing >= 0 ? child_arrange_standard(spawn)
                                 : child_arrange_fds(spawn, &error_fd, &program_fd);
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
        uint64_t flags = CLONE_PIDFD | spawn->clone_flags | (nothing >= 0 ? CLONE_FILES : 0);
        struct clone_args args = {
                .flags = flags | (spawn->cgroup_fd >= 0 ? CLONE_INTO_CGROUP : 0),
                .pidfd = (uint64_t) (uintptr_t) ret_pidfd,
                .exit_signal = SIGCHLD,
                .cgroup = spawn->cgroup_fd >= 0 ? (uint64_t) spawn->cgroup_fd : 0,
        };
        long pid = syscall(SYS_clone3, &args, sizeof(args));
        if (pid >= 0 || errno != ENOSYS || spawn->cgroup_fd >= 0)
                return pid;
        return syscall(SYS_clone, flags | SIGCHLD, NULL, ret_pidfd, NULL, NULL);
}

/* Until the child has a table of its own, and what it was sent. */
static int wait_until_taken(int socket, int pidfd) {
        struct pollfd fds[] = { { .fd = socket, .events = POLLIN }, { .fd = pidfd, .events = POLLIN } };
        int r, taken = -EIO;
        do
                r = poll(fds, ELEMENTS_OF(fds), -1);
        while (r < 0 && errno == EINTR);
        if (r < 0)
                return -errno;
        if (!(fds[0].revents & POLLIN))
                return -EIO; /* it ended */
        return read(socket, &taken, sizeof(taken)) == sizeof(taken) ? taken : -EIO;
}

/* ends: for the parent, for the child. */
static int spawn_prepare(const ProcessSpawn *spawn, int ends[2]) {
        if (nothing < 0)
                return pipe2(ends, O_CLOEXEC) < 0 ? -errno : 0;
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
                return -errno;
        int r = hand_over(spawn, ends[0]);
        if (r >= 0 && dup3(ends[1], meeting_place, O_CLOEXEC) < 0)
                r = -errno;
        fd_close(ends[1]);
        ends[1] = meeting_place;
        if (r < 0)
                fd_close(ends[0]);
        return r;
}

static void spawn_release(int fd) {
        if (nothing >= 0)
                (void) dup3(nothing, fd, O_CLOEXEC);
        else
                fd_close(fd);
}

int process_spawn(const ProcessSpawn *spawn, pid_t *ret_pid, int *ret_pidfd) {
        assert(spawn->fd_count <= PROCESS_FDS_MAX);
        int ends[2], pidfd = -EBADF, child_error = 0;
        int r = spawn_prepare(spawn, ends);
        if (r < 0)
                return r;

        pid_t parent = getpid();
        long pid = child_clone(spawn, &pidfd);
        if (pid < 0) {
                r = -errno;
                spawn_release(ends[1]);
                fd_close(ends[0]);
                return r;
        }
        if (pid == 0)
                child_run(spawn, ends[1], parent);

        if (nothing >= 0)
                r = wait_until_taken(ends[0], pidfd);
        spawn_release(ends[1]);
        ssize_t n = r < 0 ? 0 : fd_read_full(ends[0], &child_error, sizeof(child_error));
        fd_close(ends[0]);
        if (r < 0 || n != 0) {
                (void) process_kill_and_reap(pidfd);
                return r < 0 ? r : n == sizeof(child_error) && child_error < 0 ? child_error : -EIO;
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

/* A field of /proc/PID/stat after the second, which is the name in parentheses and may itself hold spaces
 * and parentheses. */
static int read_stat_field(pid_t pid, unsigned wanted, uint64_t *ret) {
        char path[64];
        _cleanup_free_ char *text = NULL;
        (void) snprintf(path, sizeof(path), "/proc/%i/stat", pid);
        int r = fd_read_line_at(AT_FDCWD, path, &text);
        if (r < 0)
                return r == -ENOENT ? -ESRCH : r;

        char *p = strrchr(text, ')');
        for (unsigned field = 2; p && field < wanted; field++)
                p = strchr(p + 1, ' ');
        if (!p)
                return -EIO;
        char *end = strchr(p + 1, ' ');
        if (end)
                *end = '\0';
        return string_to_uint64(p + 1, UINT64_MAX, ret);
}

int process_start_time(pid_t pid, uint64_t *ret) {
        return read_stat_field(pid, 22, ret);
}

/* Numbers may be given anew meanwhile: their count is what ends this at any rate. */
bool process_is_ancestor(pid_t pid) {
        uint64_t parent = (uint64_t) getppid();
        for (unsigned i = 0; pid > 0 && parent > 0 && i < ANCESTORS_MAX; i++) {
                if (parent == (uint64_t) pid)
                        return true;
                if (read_stat_field((pid_t) parent, 4, &parent) < 0)
                        return false;
        }
        return false;
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
