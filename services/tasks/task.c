/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/tasks/task.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "lib/fd.h"
#include "lib/limits.h"
#include "lib/log.h"
#include "lib/message.h"
#include "lib/path.h"
#include "lib/process.h"
#include "lib/strv.h"
#include "services/tasks/payload-cgroup.h"
#include "services/tasks/task-table.h"

#define DIRECTORY_MODE 0700

static const char *const state_names[_TASK_STATE_MAX] = {
        [TASK_CREATED] = "created",
        [TASK_STARTING] = "starting",
        [TASK_RUNNING] = "running",
        [TASK_STOPPED] = "stopped",
};

const char *task_state_to_string(TaskState state) {
        return state_names[state];
}

static int load_sources(Task *task) {
        size_t count = strv_length(task->record.sources);
        task->sources = new0(BindSource, count + 1);
        if (!task->sources)
                return -ENOMEM;
        for (; task->source_count < count; task->source_count++) {
                int r = bind_source_load(task->record.sources[task->source_count],
                                         &task->sources[task->source_count]);
                if (r < 0)
                        return r;
        }
        return 0;
}

int task_new(TaskTable *table, TaskRecord *record, Task **ret) {
        _cleanup_(task_freep) Task *task = new0(Task, 1);
        if (!task)
                return -ENOMEM;
        *task = (Task){
                .table = table,
                .directory = -EBADF,
                .supervisor_pidfd = -EBADF,
                .payload_pidfd = -EBADF,
                .control = -EBADF,
                .terminal = -EBADF,
                .record = TAKE(*record, (TaskRecord){ 0 }),
        };
        task->state = task->record.finished > 0 || task->record.started > 0 ? TASK_STOPPED : TASK_CREATED;
        int r = load_sources(task);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(task);
        return 0;
}

Task *task_free(Task *task) {
        if (!task)
                return NULL;
        task->start = task_start_free(task->start);
        task->removal = task_removal_free(task->removal);
        task_waiters_answer(&task->waiters, task, -ECANCELED, NULL);
        sd_event_source_disable_unref(task->supervisor_source);
        sd_event_source_disable_unref(task->control_source);
        sd_event_source_disable_unref(task->linger);
        fd_close(task->supervisor_pidfd);
        fd_close(task->payload_pidfd);
        fd_close(task->control);
        fd_close(task->terminal);
        fd_close(task->directory);
        if (task->has_bucket)
                scope_buckets_give_back(&task->table->buckets, task->bucket);
        for (size_t i = 0; i < task->source_count; i++)
                bind_source_done(&task->sources[i]);
        free(task->sources);
        quota_hold_free(task->hold);
        task_record_done(&task->record);
        return mfree(task);
}

int task_waiter_add(TaskWaiter **list, TaskDone done, void *userdata) {
        TaskWaiter *waiter = new0(TaskWaiter, 1);
        if (!waiter)
                return -ENOMEM;
        *waiter = (TaskWaiter){ .next = *list, .done = done, .userdata = userdata };
        *list = waiter;
        return 0;
}

void task_waiters_answer(TaskWaiter **list, Task *task, int r, const Fault *fault) {
        TaskWaiter *waiters = TAKE_PTR(*list);
        while (waiters) {
                TaskWaiter *waiter = waiters;
                waiters = waiter->next;
                waiter->done(task, r, fault, waiter->userdata);
                free(waiter);
        }
}

int task_wait(Task *task, TaskDone done, void *userdata, Fault *fault) {
        if (task->state == TASK_CREATED)
                return fault_set(fault, -EBUSY, "container %s was never started", task->record.id);
        if (task->waiter_count >= LIMIT_WAITERS_PER_JOB)
                return fault_set(fault, -EDQUOT, "too many wait for container %s", task->record.id);
        if (!task_is_running(task)) {
                done(task, 0, NULL, userdata);
                return 0;
        }
        int r = task_waiter_add(&task->waiters, done, userdata);
        if (r >= 0)
                task->waiter_count++;
        return r;
}

void task_cancel_wait(Task *task, TaskDone done, void *userdata) {
        for (TaskWaiter **place = &task->waiters; *place; place = &(*place)->next) {
                TaskWaiter *waiter = *place;
                if (waiter->done != done || waiter->userdata != userdata)
                        continue;
                *place = waiter->next;
                free(waiter);
                task->waiter_count--;
                return;
        }
}

int task_open_directory(Task *task) {
        _cleanup_free_ char *path = NULL;
        if (task->directory >= 0)
                return 0;
        if (asprintf(&path, "%s/%s", task->record.namespace, task->record.id) < 0)
                return -ENOMEM;
        int fd = path_make_directories(task->table->runtime_directory, path, DIRECTORY_MODE, PATH_BENEATH);
        if (fd < 0)
                return fd;
        task->directory = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        fd_close(fd);
        return task->directory < 0 ? -errno : 0;
}

void task_remove_directory(Task *task) {
        _cleanup_free_ char *path = NULL;
        if (asprintf(&path, "%s/%s", task->record.namespace, task->record.id) < 0) {
                path = NULL;
                return;
        }
        task->directory = fd_close(task->directory);
        int r = path_remove_tree(task->table->runtime_directory, path);
        if (r < 0)
                log_warning("cannot remove what container %s left in /run: %s", path, strerror(-r));
}

void task_set_state(Task *task, TaskState state) {
        task->state = state;
        if (!task->table->recovering && task->table->observer.changed)
                task->table->observer.changed(task, task->table->observer.userdata);
}

static void note_end(Task *task, const RunExit *end) {
        TaskRecord *record = &task->record;
        record->finished = end->finished > 0 ? end->finished : run_now();
        record->exit_status = end->status;
        record->error = mfree(record->error);
        if (end->error[0])
                record->error = strdup(end->error);
        else if (end->out_of_memory)
                record->error = strdup("the kernel killed a process of it: it reached its memory limit");
        if (end->never_started)
                record->started = 0;
        task->payload_pidfd = fd_close(task->payload_pidfd);
        task->payload_pid = 0;
        task->terminal = fd_close(task->terminal);
}

void task_end(Task *task, const RunExit *end) {
        note_end(task, end);
        task->state = TASK_STOPPED;
        task->waiter_count = 0;
        task_waiters_answer(&task->waiters, task, 0, NULL);
        task_set_state(task, TASK_STOPPED); /* who waits hears first */

        if (!task->record.auto_remove) {
                int r = task_store_update(task->table->store, &task->record);
                if (r < 0)
                        log_error("cannot note the end of container %s: %s", task->record.id, strerror(-r));
        }
        if (task->removal)
                task_removal_continue(task);
        else if (task->record.auto_remove) {
                _cleanup_(fault_done) Fault fault = FAULT_NULL;
                int r = task_remove(task, false, NULL, NULL, &fault);
                if (r < 0)
                        log_error("cannot remove container %s: %s", task->record.id, fault_text(&fault, r));
        }
}

static int kill_all(const Task *task, int signal) {
        _cleanup_close_ int cgroup =
                scope_cgroup_open(task->record.namespace, task->record.id, task->bucket, PAYLOAD_CGROUP);
        return cgroup < 0 ? cgroup : payload_cgroup_signal(cgroup, signal);
}

int task_kill(Task *task, int signal, bool all, Fault *fault) {
        if (task->state != TASK_RUNNING)
                return fault_set(fault, -EBUSY, "container %s does not run, it is %s", task->record.id,
                                 task_state_to_string(task->state));
        int r = all                        ? kill_all(task, signal)
                : task->payload_pidfd >= 0 ? process_send_signal(task->payload_pidfd, signal)
                                           : -ESRCH;
        if (r == -ESRCH)
                return fault_set(fault, -EBUSY, "container %s has ended", task->record.id);
        return r < 0 ? fault_set_errno(fault, r, "cannot signal container %s", task->record.id) : 0;
}

int task_resize(Task *task, uint32_t rows, uint32_t columns, Fault *fault) {
        const SupervisorMessage message = { .type = SUPERVISOR_RESIZE, .rows = rows, .columns = columns };
        const struct winsize size = { .ws_row = (unsigned short) rows, .ws_col = (unsigned short) columns };
        if (!task->record.terminal)
                return fault_set(fault, -EBUSY, "container %s has no terminal", task->record.id);
        if (task->state != TASK_RUNNING)
                return fault_set(fault, -EBUSY, "container %s does not run", task->record.id);
        if (rows == 0 || columns == 0 || rows > UINT16_MAX || columns > UINT16_MAX)
                return fault_set(fault, -EINVAL, "%u rows and %u columns make no terminal", rows, columns);
        if (task->terminal >= 0) {
                int done = ioctl(task->terminal, TIOCSWINSZ, &size);
                return done < 0 ? fault_set_errno(fault, -errno, "the terminal of container %s",
                                                  task->record.id)
                                : 0;
        }
        /* Just found again: the terminal is on its way to us. */
        int r = task->control < 0 ? -EPIPE : message_send(task->control, &message, sizeof(message), NULL, 0);
        return r < 0 ? fault_set_errno(fault, r, "the supervisor of container %s", task->record.id) : 0;
}
