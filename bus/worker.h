/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The daemon's side of a worker: an exec'd program that does heavy or hostile work with the few descriptors
 * that it was handed, and talks to its daemon in messages (lib/message.h) on descriptor 3. Killed and reaped
 * when it is freed. */

#include <stdbool.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <systemd/sd-event.h>

#include "lib/macros.h"

typedef struct Worker Worker;

typedef struct WorkerSpec {
        const char *program;          /* a name below the libexec directory ("crt-ingest") */
        const char *const *arguments; /* further arguments, NULL-terminated; or NULL */
        const int *fds;               /* become descriptors 4, 5, … there; still the caller's */
        size_t fd_count;
        uint64_t clone_flags; /* CLONE_NEWNET and the like */

        /* fds are closed after the call, except those that the callee takes out by TAKE_FD(). */
        void (*on_message)(Worker *worker, const void *data, size_t size, int *fds, size_t fd_count,
                           void *userdata);
        /* Once, after the last message: it ended by itself. Not called after worker_free(). */
        void (*on_exit)(Worker *worker, const siginfo_t *info, void *userdata);
        void *userdata;
} WorkerSpec;

int worker_new(sd_event *event, const WorkerSpec *spec, Worker **ret);
/* -EAGAIN when its socket is full. */
int worker_send(Worker *worker, const void *data, size_t size, const int *fds, size_t fd_count);
/* What its first thread reads and writes waits while anybody else needs the disk, or does so no longer. */
int worker_set_idle(Worker *worker, bool idle);
/* Kills it if it still runs; it is reaped without blocking the loop. May be called from within the
 * callbacks. */
Worker *worker_free(Worker *worker);
DEFINE_CLEANUP(Worker *, worker_free);
