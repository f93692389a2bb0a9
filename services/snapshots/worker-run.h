/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One run of one of the workers of Snapshots, from its start to its outcome. */

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "bus/worker.h"
#include "lib/fault.h"
#include "lib/macros.h"
#include "services/snapshots/worker-message.h"

typedef struct WorkerRun WorkerRun;

typedef struct WorkerRunSpec {
        const char *program;
        const char *const *arguments;
        const int *fds; /* borrowed */
        size_t fd_count;
        bool own_processes;                                    /* it starts others, which end with it */
        void (*on_progress)(uint64_t bytes, void *userdata);   /* may be NULL */
        void (*on_measured)(const char *text, void *userdata); /* likewise: WORKER_MEASURED */
        /* Once. said: the last word of it, unless r is -ECHILD: it was killed, or ended, without one. The
         * run may be freed here. */
        void (*on_end)(int r, const WorkerMessage *said, const Fault *fault, void *userdata);
        void *userdata;
} WorkerRunSpec;

int worker_run_new(sd_event *event, const WorkerRunSpec *spec, WorkerRun **ret, Fault *fault);
/* worker_set_idle(). */
int worker_run_set_idle(WorkerRun *run, bool idle);
/* Kills it if it still runs; on_end is not called any more. */
WorkerRun *worker_run_free(WorkerRun *run);
DEFINE_CLEANUP(WorkerRun *, worker_run_free);
