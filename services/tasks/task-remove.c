/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The removal of a container, in an order that can be continued: it has ended and its supervisor, the last
 * one that knew its mount, is gone; a marker in /run; the snapshot; the record; the directory in /run with
 * the marker.
 *
 * What fails is tried again, for the reasons pass: a mount goes away a moment after the last process in it,
 * Snapshots comes back. Who waits hears of the failure after some seconds, but the removal goes on, and as
 * the marker stays, the next run of the service takes it up where this one ends. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "services/tasks/payload-cgroup.h"
#include "services/tasks/task-table.h"

/* How long the outcome of a container that removed itself can be asked for. */
#define LINGER (5 * UINT64_C(1000000))

/* Between two attempts, doubled each time. */
#define DELAY_FIRST (50 * UINT64_C(1000))
/* From here on, about three seconds after the first attempt, nobody is kept waiting. */
#define DELAY_PATIENCE (DELAY_FIRST << 6)
/* From here on, about a minute and a half after the first attempt, the service may end with it. */
#define DELAY_MAX (DELAY_FIRST << 10)

struct TaskRemoval {
        SiblingCall *call;
        TaskWaiter *waiters;
        sd_event_source *timer; /* of the next attempt */
        uint64_t delay;         /* 0: none has failed */
};

TaskRemoval *task_removal_free(TaskRemoval *removal) {
        if (!removal)
                return NULL;
        sibling_call_free(removal->call);
        sd_event_source_disable_unref(removal->timer);
        task_waiters_answer(&removal->waiters, NULL, -ECANCELED, NULL);
        return mfree(removal);
}

static int on_lingered(sd_event_source *source, uint64_t usec, void *userdata) {
        task_table_forget(userdata);
        return 0;
}

/* Those who started it may still ask how it ended. */
static int linger(Task *task) {
        task->hold = quota_hold_free(task->hold);
        task->removed = true;
        return sd_event_add_time_relative(task->table->event, &task->linger, CLOCK_MONOTONIC, LINGER, 0,
                                          on_lingered, task);
}

static int on_delayed(sd_event_source *source, uint64_t usec, void *userdata) {
        task_removal_continue(userdata);
        return 0;
}

static void try_later(Task *task, int r, const Fault *fault) {
        TaskRemoval *removal = task->removal;
        removal->delay = removal->delay == 0 ? DELAY_FIRST : MIN_OF(removal->delay * 2, DELAY_MAX);
        if (sd_event_add_time_relative(task->table->event, &removal->timer, CLOCK_MONOTONIC, removal->delay,
                                       0, on_delayed, task) < 0)
                removal->delay = DELAY_MAX; /* the next Delete, or run of the service, goes on */
        if (removal->delay < DELAY_PATIENCE)
                return;
        if (!removal->waiters && removal->delay == DELAY_PATIENCE)
                log_error("cannot remove container %s yet: %s", task->record.id, fault_text(fault, r));
        task_waiters_answer(&removal->waiters, task, r, fault);
}

static void finish(Task *task) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        int r = task_store_remove(task->table->store, &task->record);
        if (r < 0) {
                fault_set_errno(&fault, r, "the record of container %s", task->record.id);
                try_later(task, r, &fault);
                return;
        }
        task_remove_directory(task);
        TaskRemoval *removal = TAKE_PTR(task->removal);
        bool kept = !removal->waiters;
        if (!kept)
                task_table_drop(task->table, task); /* who waits may take the id */
        task_waiters_answer(&removal->waiters, task, 0, NULL);
        task_removal_free(removal);
        if (!kept || task->half_made || linger(task) < 0)
                task_table_forget(task);
}

static void on_snapshot_removed(int r, SiblingAnswer *answer, const Fault *fault, void *userdata) {
        Task *task = userdata;
        task->removal->call = sibling_call_free(task->removal->call);
        if (r < 0 && r != -ENOENT)
                try_later(task, r, fault);
        else
                finish(task);
}

static int mark(Task *task) {
        int r = task_open_directory(task);
        if (r < 0)
                return r;
        _cleanup_close_ int fd =
                openat(task->directory, RUN_DELETING, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        return fd < 0 ? -errno : 0;
}

void task_removal_continue(Task *task) {
        const SiblingReceiver receiver = { on_snapshot_removed, task };
        _cleanup_free_ char *key = NULL;
        if (task_is_running(task) || task->start || task->supervisor_pidfd >= 0 || task->removal->call)
                return;
        task->removal->timer = sd_event_source_disable_unref(task->removal->timer);
        int r = mark(task);
        if (r >= 0)
                r = task_record_snapshot_key(&task->record, &key);
        if (r >= 0)
                r = siblings_remove(task->table->siblings, task->record.namespace, key, &receiver,
                                    &task->removal->call);
        if (r < 0)
                try_later(task, r, NULL);
}

bool task_removal_is_busy(const TaskRemoval *removal) {
        return removal && removal->delay < DELAY_MAX;
}

/* Its end comes through the supervisor, which writes it down. */
static void end_it(Task *task) {
        _cleanup_close_ int cgroup =
                scope_cgroup_open(task->record.namespace, task->record.id, task->bucket, PAYLOAD_CGROUP);
        if (task->state == TASK_RUNNING && cgroup >= 0 && payload_cgroup_signal(cgroup, SIGKILL) >= 0)
                return;
        task_start_cancel(task);
}

int task_remove(Task *task, bool force, TaskDone done, void *userdata, Fault *fault) {
        if (task->creating)
                return fault_set(fault, -EBUSY, "container %s is being created", task->record.id);
        if (task->removed)
                return fault_set(fault, -ENOENT, "container %s has removed itself", task->record.id);
        if ((task_is_running(task) || task->start) && !force && !task->removal)
                return fault_set(fault, -EBUSY, "container %s runs", task->record.id);
        if (!task->removal && !(task->removal = new0(TaskRemoval, 1)))
                return -ENOMEM;
        int r = done ? task_waiter_add(&task->removal->waiters, done, userdata) : 0;
        if (r < 0)
                return r;
        task->removal->delay = 0;
        if (task_is_running(task))
                end_it(task);
        else
                task_removal_continue(task);
        return 0;
}
