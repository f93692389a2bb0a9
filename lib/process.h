/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Child processes held by pidfd: spawned with exactly the descriptors that they are meant to have. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/wait.h>

#include "lib/fault.h"
#include "lib/macros.h"

#define PROCESS_FDS_MAX 32

/* What a program is started with. fds[i] becomes descriptor 3 + i; everything else but 0, 1, 2 is closed.
 * Descriptors 0 to 2 are /dev/null for input and output and the caller's stderr, unless standard[] says
 * otherwise (-EBADF: the default). */
typedef struct ProcessSpawn {
        const char *path;               /* absolute; not used when there is a program_fd */
        int program_fd;                 /* the program's file; -EBADF: none */
        const char *const *arguments;   /* NULL-terminated, including argv[0] */
        const char *const *environment; /* NULL: the caller's own */
        const char *directory;          /* where it works; NULL: the caller's own */
        const int *fds;
        size_t fd_count;
        int standard[3];
        int cgroup_fd;        /* clone straight into this cgroup; -EBADF: the caller's */
        bool die_with_parent; /* PR_SET_PDEATHSIG SIGKILL */
        uint64_t clone_flags; /* further CLONE_NEW* flags */
} ProcessSpawn;

#define PROCESS_SPAWN_INIT                                                                                  \
        ((ProcessSpawn){ .program_fd = -EBADF, .standard = { -EBADF, -EBADF, -EBADF }, .cgroup_fd = -EBADF })

/* For a program that is handed descriptors by strangers. From then on whatever it opens is at
 * PROCESS_RESERVED or above, and a child is never in possession of more than it is meant to have: to close
 * what is not for it, it would have to ask the file's file system, and that of a FUSE mount need never
 * answer. Once, when descriptors from systemd have been taken. */
#define PROCESS_RESERVED 64 /* tables are copied in such units: NR_OPEN_DEFAULT */
int process_reserve_descriptors(void);

/* Starts it; a failing execve is reported here as its errno. */
int process_spawn(const ProcessSpawn *spawn, pid_t *ret_pid, int *ret_pidfd);

int process_open_pidfd(pid_t pid);
int process_send_signal(int pidfd, int signal);
/* waitid(P_PIDFD) for a child: blocks unless flags has WNOHANG. 1 when it ended, 0 when not. */
int process_wait(int pidfd, int flags, siginfo_t *ret);
/* Kills with SIGKILL, reaps, closes; for cleanup. Returns -EBADF. */
int process_kill_and_reap(int pidfd);

/* Exit status as a shell shows it: code, or 128 + signal. */
int process_exit_status(const siginfo_t *info);

/* The start time in clock ticks since boot (field 22 of /proc/PID/stat): with the pid it names a process for
 * good. */
int process_start_time(pid_t pid, uint64_t *ret);

/* True if this process is a child of that one, or a child's child. */
bool process_is_ancestor(pid_t pid);

/* "SIGTERM", "TERM", "term" or "15"; also RTMIN+3. Number or -EINVAL. */
int signal_from_string(const char *name);
/* "SIGTERM"; NULL if there is none. */
const char *signal_to_string(int signal);
