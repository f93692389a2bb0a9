/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/worker-run.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

#include "lib/process.h"

struct WorkerRun {
        Worker *worker;
        WorkerRunSpec spec;
        WorkerMessage outcome; /* type WORKER_PROGRESS: none yet */
};

static void on_message(Worker *worker, const void *data, size_t size, int *fds, size_t fd_count,
                       void *userdata) {
        WorkerRun *run = userdata;
        WorkerMessage message;
        if (run->outcome.type != WORKER_PROGRESS || worker_message_read(data, size, &message) < 0)
                return;
        if (message.type == WORKER_MEASURED) {
                if (run->spec.on_measured)
                        run->spec.on_measured(message.text, run->spec.userdata);
        } else if (message.type != WORKER_PROGRESS)
                run->outcome = message;
        else if (run->spec.on_progress)
                run->spec.on_progress(message.bytes, run->spec.userdata);
}

static int run_outcome(const WorkerRun *run, const siginfo_t *info, Fault *fault) {
        if (run->outcome.type == WORKER_FAILED || run->outcome.type == WORKER_DISK_FAILED)
                return fault_set(fault, run->outcome.error, "%s", run->outcome.text);
        if (run->outcome.type == WORKER_DONE && process_exit_status(info) == 0)
                return 0;
        if (info->si_code == CLD_EXITED)
                return fault_set(fault, -ECHILD, "%s ended with status %i", run->spec.program,
                                 info->si_status);
        return fault_set(fault, -ECHILD, "%s was killed by %s", run->spec.program,
                         signal_to_string(info->si_status));
}

static void on_exit_of_worker(Worker *worker, const siginfo_t *info, void *userdata) {
        WorkerRun *run = userdata;
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        WorkerMessage outcome = run->outcome;
        int r = run_outcome(run, info, &fault);
        run->spec.on_end(r, &outcome, &fault, run->spec.userdata);
}

int worker_run_new(sd_event *event, const WorkerRunSpec *spec, WorkerRun **ret, Fault *fault) {
        _cleanup_(worker_run_freep) WorkerRun *run = new0(WorkerRun, 1);
        if (!run)
                return -ENOMEM;
        run->spec = *spec;
        run->outcome.type = WORKER_PROGRESS;
        const WorkerSpec worker = {
                .program = spec->program,
                .arguments = spec->arguments,
                .fds = spec->fds,
                .fd_count = spec->fd_count,
                .clone_flags = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS |
                               (spec->own_processes ? CLONE_NEWPID : 0),
                .on_message = on_message,
                .on_exit = on_exit_of_worker,
                .userdata = run,
        };
        int r = worker_new(event, &worker, &run->worker);
        if (r < 0)
                return fault_set_errno(fault, r, "Can't start %s", spec->program);
        run->spec.arguments = NULL;
        run->spec.fds = NULL;
        *ret = TAKE_PTR(run);
        return 0;
}

int worker_run_set_idle(WorkerRun *run, bool idle) {
        return worker_set_idle(run->worker, idle);
}

WorkerRun *worker_run_free(WorkerRun *run) {
        if (!run)
                return NULL;
        worker_free(run->worker);
        return mfree(run);
}
