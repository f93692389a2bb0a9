/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The removal of a container, in an order that can be continued: it has ended and its supervisor, the last
 * one that knew its mount, is gone; a marker in /run; the snapshot; the record; the directory in /run with
 * the marker. */

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

struct TaskRemoval {
        SiblingCall *call;
        TaskWaiter *waiters;
};

TaskRemoval *task_removal_free(TaskRemoval *removal) {
        if (!removal)
                return NULL;
        sibling_call_free(removal->call);
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

static void finish(Task *task) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        TaskRemoval *removal = TAKE_PTR(task->removal);
        bool kept = !removal->waiters;
        int r = task_store_remove(task->table->store, &task->record);
        if (r < 0)
                fault_set_errno(&fault, r, "the record of container %s", task->record.id);
        else
                task_remove_directory(task);
        task_waiters_answer(&removal->waiters, task, MIN_OF(r, 0), &fault);
        task_removal_free(removal);
        if (r >= 0 && (!kept || task->half_made || linger(task) < 0))
                task_table_forget(task);
}

static void give_up(Task *task, int r, const Fault *fault) {
        TaskRemoval *removal = TAKE_PTR(task->removal);
        (void) unlinkat(task->directory, RUN_DELETING, 0);
        if (!removal->waiters)
                log_error("cannot remove container %s: %s", task->record.id, fault_text(fault, r));
        task_waiters_answer(&removal->waiters, task, r, fault);
        task_removal_free(removal);
}

static void on_snapshot_removed(int r, SiblingAnswer *answer, const Fault *fault, void *userdata) {
        Task *task = userdata;
        task->removal->call = sibling_call_free(task->removal->call);
        if (r < 0 && r != -ENOENT)
                give_up(task, r, fault);
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
        int r = mark(task);
        if (r >= 0)
                r = task_record_snapshot_key(&task->record, &key);
        if (r >= 0)
                r = siblings_remove(task->table->siblings, task->record.namespace, key, &receiver,
                                    &task->removal->call);
        if (r < 0)
                give_up(task, r, NULL);
}

/* Its end comes through the supervisor, which writes it down. */
static void end_it(Task *task) {
        _cleanup_close_ int cgroup =
                scope_cgroup_open(task->record.namespace, task->record.id, task->bucket, PAYLOAD_CGROUP);
        if (task->state == TASK_RUNNING && cgroup >= 0 && cgroup_signal(cgroup, SIGKILL) >= 0)
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
        if (task_is_running(task))
                end_it(task);
        else
                task_removal_continue(task);
        return 0;
}
