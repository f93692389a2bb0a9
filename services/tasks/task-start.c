/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The start of a container:
 *
 *   1. config.json and the listening socket are put into its directory below /run; the supervisor is
 * executed, and waits.
 *   2. Snapshots is asked for the mount, and systemd for a scope with the supervisor in it, both at once.
 *   3. When both are there: GO, with the mount and the stdio.
 *   4. The supervisor says STARTED, or EXITED with a record that says what went wrong.
 */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/process.h"
#include "services/tasks/task-table.h"

#define STATUS_NOT_SET_UP 125

struct TaskStart {
        Task *task; /* weak */
        TaskStartRequest request;
        int standard[3]; /* owned */
        SiblingCall *mount_call, *scope_call;
        int mount;
        bool scope_is_there;
        bool prepared_again;
        bool gone_on;
};

static void mount_again(TaskStart *start);

TaskStart *task_start_free(TaskStart *start) {
        if (!start)
                return NULL;
        sibling_call_free(start->mount_call);
        sibling_call_free(start->scope_call);
        fd_close(start->mount);
        fd_close_many(start->standard, 3);
        return mfree(start);
}

/* Takes the start out of the task before it answers: what is called may do anything to the task. */
static void answer(Task *task, int r, int terminal, const Fault *fault) {
        TaskStart *start = TAKE_PTR(task->start);
        start->request.done(task, r, terminal, fault, start->request.userdata);
        task_start_free(start);
}

/* Before GO: the supervisor ends by itself when its connection does. */
static void fail(TaskStart *start, int r, const Fault *fault) {
        Task *task = start->task;
        RunExit end = { .status = STATUS_NOT_SET_UP, .finished = run_now(), .never_started = true };
        (void) snprintf(end.error, sizeof(end.error), "%s", fault_text(fault, r));
        task_abandon_supervisor(task);
        answer(task, r, -EBADF, fault);
        if (task_is_running(task))
                task_end(task, &end);
}

static void go_on(TaskStart *start) {
        Task *task = start->task;
        SupervisorMessage go = {
                .type = SUPERVISOR_GO,
                .value = task->record.stop_signal,
                .rows = start->request.rows,
                .columns = start->request.columns,
        };
        int fds[4];
        size_t count = 0;

        if (start->mount < 0 || !start->scope_is_there)
                return;
        fds[count++] = start->mount;
        for (unsigned i = 0; i < 3; i++)
                if (start->standard[i] >= 0) {
                        go.flags |= SUPERVISOR_STDIN << i;
                        fds[count++] = start->standard[i];
                }
        int r = task_send_go(task, &go, fds, count);
        if (r < 0) {
                _cleanup_(fault_done) Fault fault = FAULT_NULL;
                fault_set_errno(&fault, r, "the supervisor of container %s does not listen",
                                task->record.id);
                fail(start, r, &fault);
                return;
        }
        start->gone_on = true;
        start->mount = fd_close(start->mount);
        fd_close_many(start->standard, 3);
        for (unsigned i = 0; i < 3; i++)
                start->standard[i] = -EBADF;
}

static void on_scope(int r, SiblingAnswer *reply, const Fault *fault, void *userdata) {
        TaskStart *start = userdata;
        start->scope_call = sibling_call_free(start->scope_call);
        if (r < 0) {
                /* It would wait to be moved there. */
                (void) process_send_signal(start->task->supervisor_pidfd, SIGKILL);
                fail(start, r, fault);
                return;
        }
        start->scope_is_there = true;
        go_on(start);
}

static void on_prepared(int r, SiblingAnswer *reply, const Fault *fault, void *userdata) {
        TaskStart *start = userdata;
        start->mount_call = sibling_call_free(start->mount_call);
        if (r < 0 && r != -EEXIST) /* it was asked twice */
                fail(start, r, fault);
        else
                mount_again(start);
}

/* The record is durable before the snapshot is made: after a crash of the machine it may be missing. */
static int prepare_again(TaskStart *start) {
        const TaskRecord *record = &start->task->record;
        const SiblingReceiver receiver = { on_prepared, start };
        _cleanup_free_ char *key = NULL;
        int r = task_record_snapshot_key(record, &key);
        if (r < 0)
                return r;
        start->prepared_again = true;
        const SiblingTree tree = { record->namespace, key, record->parent, record->rootfs_size_max };
        return siblings_prepare(start->task->table->siblings, &tree, &receiver, &start->mount_call);
}

static void on_mounted(int r, SiblingAnswer *reply, const Fault *fault, void *userdata) {
        TaskStart *start = userdata;
        start->mount_call = sibling_call_free(start->mount_call);
        if (r == -ENOENT && !start->prepared_again && prepare_again(start) >= 0)
                return;
        if (r < 0) {
                fail(start, r, fault);
                return;
        }
        start->mount = TAKE_FD(reply->mount);
        go_on(start);
}

static int ask_for_mount(TaskStart *start) {
        const TaskRecord *record = &start->task->record;
        const SiblingReceiver receiver = { on_mounted, start };
        _cleanup_free_ char *key = NULL;
        int r = task_record_snapshot_key(record, &key);
        if (r < 0)
                return r;
        return siblings_mount(start->task->table->siblings, record->namespace, key, record->is_volatile,
                              &receiver, &start->mount_call);
}

static void mount_again(TaskStart *start) {
        int r = ask_for_mount(start);
        if (r < 0)
                fail(start, r, NULL);
}

static int ask_for_scope(TaskStart *start) {
        const Task *task = start->task;
        const SiblingReceiver receiver = { on_scope, start };
        const ScopeSpec scope = {
                .namespace = task->record.namespace,
                .id = task->record.id,
                .bucket = task->bucket,
                .process = task->supervisor.pid,
                .limits = task->record.limits,
        };
        return siblings_start_scope(task->table->siblings, &scope, &receiver, &start->scope_call);
}

static int prepare_directory(Task *task, Fault *fault) {
        static const char *const leftovers[] = { RUN_PAYLOAD, RUN_EXIT, RUN_SUPERVISOR };
        _cleanup_free_ char *config = NULL;
        int r = task_open_directory(task);
        if (r >= 0)
                r = task_store_read_config(task->table->store, &task->record, &config);
        for (size_t i = 0; r >= 0 && i < ELEMENTS_OF(leftovers); i++)
                if (unlinkat(task->directory, leftovers[i], 0) < 0 && errno != ENOENT)
                        r = -errno;
        if (r >= 0)
                r = fd_replace_file_at(task->directory, RUN_CONFIG, config, strlen(config), 0600);
        if (r < 0)
                return fault_set_errno(fault, r, "the directory of container %s", task->record.id);
        for (size_t i = 0; i < task->source_count; i++) {
                r = bind_source_reopen(&task->sources[i], fault);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int begin(TaskStart *start, Fault *fault) {
        Task *task = start->task;
        int r = prepare_directory(task, fault);
        if (r < 0)
                return r;
        r = ask_for_mount(start); /* is answered while the supervisor is executed */
        if (r < 0)
                return fault_set_errno(fault, r, "the system bus");
        r = task_spawn_supervisor(task, fault);
        if (r < 0)
                return r;
        r = ask_for_scope(start);
        if (r < 0) {
                task_abandon_supervisor(task);
                return fault_set_errno(fault, r, "the system bus");
        }
        task->record.started = run_now();
        task->record.finished = 0;
        task->record.exit_status = TASK_STATUS_NONE;
        task->record.error = mfree(task->record.error);
        task_set_state(task, TASK_STARTING);
        return 0;
}

static int keep_standard(TaskStart *start, const TaskStartRequest *request) {
        for (unsigned i = 0; i < 3; i++)
                if (request->standard[i] >= 0) {
                        start->standard[i] = fd_duplicate(request->standard[i]);
                        if (start->standard[i] < 0)
                                return start->standard[i];
                }
        return 0;
}

int task_start(Task *task, const TaskStartRequest *request, Fault *fault) {
        if (task_is_running(task) || task->start || task->removal || task->removed)
                return fault_set(fault, -EBUSY, "container %s %s", task->record.id,
                                 task->removal || task->removed ? "is being deleted" : "runs");
        TaskStart *start = new0(TaskStart, 1);
        if (!start)
                return -ENOMEM;
        *start = (TaskStart){
                .task = task,
                .request = *request,
                .standard = { -EBADF, -EBADF, -EBADF },
                .mount = -EBADF,
        };
        int r = keep_standard(start, request);
        /* The supervisor of the last run may be about to end: then it goes on from there. */
        if (r >= 0 && task->supervisor_pidfd < 0)
                r = begin(start, fault);
        if (r < 0) {
                task_start_free(start);
                return r;
        }
        task->start = start;
        return 0;
}

void task_start_cancel(Task *task) {
        if (task->start && task->start->gone_on)
                (void) process_send_signal(task->supervisor_pidfd, SIGKILL);
        else
                task_abandon_supervisor(task);
}

void task_start_on_started(Task *task, int terminal) {
        answer(task, 0, terminal, NULL);
        /* After the answer: nobody waits for the disk. */
        if (!task->record.auto_remove) {
                int r = task_store_update(task->table->store, &task->record);
                if (r < 0)
                        log_error("cannot note the start of container %s: %s", task->record.id,
                                  strerror(-r));
        }
}

void task_start_on_ended(Task *task, const RunExit *end) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        if (!end->never_started) {
                answer(task, 0, -EBADF, NULL); /* it ran, and was faster than its news */
                return;
        }
        /* -ENOEXEC is StartFailed (bus/bus-error.c). */
        int r = fault_set(&fault, -ENOEXEC, "container %s: %s", task->record.id, end->error);
        answer(task, r, -EBADF, &fault);
}

void task_start_on_supervisor_gone(Task *task) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        TaskStart *start = task->start;
        int r = task->removal
                        ? fault_set(&fault, -ECANCELED, "container %s is being deleted", task->record.id)
                        : begin(start, &fault);
        if (r < 0)
                fail(start, r, &fault);
}
