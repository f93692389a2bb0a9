/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "bus/worker.h"

#include <errno.h>
#include <linux/ioprio.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/message.h"
#include "lib/process.h"

#define ARGUMENTS_MAX 16
#define MESSAGES_IN_A_TURN 32 /* the loop has others to serve */

struct Worker {
        sd_event *event;
        WorkerSpec spec; /* callbacks and userdata; the rest is not kept */
        int socket;
        int pidfd;
        pid_t pid; /* nobody else's until it is reaped, which is noticed here */
        sd_event_source *io;
        sd_event_source *child;
        unsigned calls; /* callbacks of ours that are on the stack */
        bool freed;     /* worker_free() was called within one of them */
        bool exited;
};

/* A program below $CRT_LIBEXECDIR (tests, which run from a build tree) or where it was installed. */
static int program_path(const char *program, char **ret) {
        const char *directory = secure_getenv("CRT_LIBEXECDIR");
        return asprintf(ret, "%s/%s", directory ? directory : CRT_LIBEXECDIR, program) < 0 ? -ENOMEM : 0;
}

static void worker_release(Worker *worker) {
        sd_event_source_disable_unref(worker->io);
        sd_event_source_disable_unref(worker->child);
        fd_close(worker->socket);
        fd_close(worker->pidfd);
        sd_event_unref(worker->event);
        free(worker);
}

/* 1 while there may be more, 0 at the end or when there is nothing now. */
static int worker_read_message(Worker *worker, char *buffer) {
        int fds[MESSAGE_FDS_MAX];
        size_t fd_count = 0;

        ssize_t n = message_receive(worker->socket, buffer, MESSAGE_SIZE_MAX, fds, &fd_count);
        if (n == 0)
                worker->io = sd_event_source_disable_unref(worker->io);
        if (n <= 0) {
                if (n < 0 && n != -EAGAIN)
                        log_debug("%s: cannot receive: %s", worker->spec.program, strerror((int) -n));
                return n == -EMSGSIZE;
        }
        worker->spec.on_message(worker, buffer, (size_t) n, fds, fd_count, worker->spec.userdata);
        fd_close_many(fds, fd_count);
        return !worker->freed;
}

static int worker_on_socket(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        Worker *worker = userdata;
        static char buffer[MESSAGE_SIZE_MAX]; /* one thread, and callbacks do not run the loop */

        worker->calls++;
        for (unsigned i = 0;
             (worker->exited || i < MESSAGES_IN_A_TURN) && worker_read_message(worker, buffer) > 0; i++)
                ;
        worker->calls--;
        if (worker->freed && worker->calls == 0)
                worker_release(worker);
        return 0;
}

static int worker_on_exit(sd_event_source *source, const siginfo_t *info, void *userdata) {
        Worker *worker = userdata;
        siginfo_t copy = *info;

        worker->exited = true;
        worker->calls++;
        if (worker->io)
                (void) worker_on_socket(worker->io, worker->socket, EPOLLIN, worker);
        if (!worker->freed && worker->spec.on_exit)
                worker->spec.on_exit(worker, &copy, worker->spec.userdata);
        worker->calls--;
        if (worker->freed && worker->calls == 0)
                worker_release(worker);
        return 0;
}

static int worker_spawn(const WorkerSpec *spec, int socket, pid_t *ret_pid, int *ret_pidfd) {
        const char *arguments[ARGUMENTS_MAX + 2] = { spec->program };
        int fds[PROCESS_FDS_MAX] = { socket };
        _cleanup_free_ char *path = NULL;

        assert(spec->fd_count < PROCESS_FDS_MAX);
        for (size_t i = 0; spec->arguments && spec->arguments[i]; i++) {
                assert(i < ARGUMENTS_MAX);
                arguments[i + 1] = spec->arguments[i];
        }
        memcpy(fds + 1, spec->fds ? spec->fds : fds, spec->fd_count * sizeof(int));
        int r = program_path(spec->program, &path);
        if (r < 0)
                return r;

        ProcessSpawn spawn = PROCESS_SPAWN_INIT;
        spawn.path = path;
        spawn.arguments = arguments;
        spawn.fds = fds;
        spawn.fd_count = 1 + spec->fd_count;
        spawn.die_with_parent = true;
        spawn.clone_flags = spec->clone_flags;
        return process_spawn(&spawn, ret_pid, ret_pidfd);
}

static int reap(sd_event_source *source, const siginfo_t *info, void *userdata) {
        return 0;
}

/* Leaves a killed child to the loop: its end may take a while (a sync that cannot be interrupted). */
static void worker_reap_later(sd_event *event, int pidfd) {
        sd_event_source *source;
        if (sd_event_add_child_pidfd(event, &source, pidfd, WEXITED, reap, NULL) < 0) {
                process_kill_and_reap(pidfd);
                return;
        }
        (void) sd_event_source_set_child_pidfd_own(source, true);
        (void) sd_event_source_set_floating(source, true);
        sd_event_source_unref(source);
}

int worker_new(sd_event *event, const WorkerSpec *spec, Worker **ret) {
        _cleanup_close_ int remote = -EBADF;
        Worker *worker = new0(Worker, 1);
        if (!worker)
                return -ENOMEM;
        *worker = (Worker){ .event = sd_event_ref(event), .spec = *spec, .socket = -EBADF, .pidfd = -EBADF };

        int r = message_pair(&worker->socket, &remote);
        if (r >= 0)
                r = worker_spawn(spec, remote, &worker->pid, &worker->pidfd);
        if (r >= 0)
                r = sd_event_add_io(event, &worker->io, worker->socket, EPOLLIN, worker_on_socket, worker);
        if (r >= 0)
                r = sd_event_add_child_pidfd(event, &worker->child, worker->pidfd, WEXITED, worker_on_exit,
                                             worker);
        if (r < 0) {
                worker->pidfd = process_kill_and_reap(worker->pidfd);
                worker_release(worker);
                return r;
        }
        *ret = worker;
        return 0;
}

int worker_send(Worker *worker, const void *data, size_t size, const int *fds, size_t fd_count) {
        return message_send(worker->socket, data, size, fds, fd_count);
}

int worker_set_idle(Worker *worker, bool idle) {
        int priority = IOPRIO_PRIO_VALUE(idle ? IOPRIO_CLASS_IDLE : IOPRIO_CLASS_NONE, 0);
        if (worker->exited)
                return 0;
        return syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, worker->pid, priority) < 0 ? -errno : 0;
}

Worker *worker_free(Worker *worker) {
        if (!worker || worker->freed)
                return NULL;
        worker->freed = true;
        worker->io = sd_event_source_disable_unref(worker->io);
        worker->child = sd_event_source_disable_unref(worker->child);
        if (!worker->exited) {
                (void) process_send_signal(worker->pidfd, SIGKILL);
                worker_reap_later(worker->event, TAKE_FD(worker->pidfd));
        }
        if (worker->calls == 0)
                worker_release(worker);
        return NULL;
}
