/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A container as the service sees it: its record, its state, its supervisor, and what is being done with it.
 */

#include <systemd/sd-event.h>

#include "bus/quota.h"
#include "lib/fault.h"
#include "services/tasks/bind-source.h"
#include "services/tasks/run-directory.h"
#include "services/tasks/siblings.h"
#include "services/tasks/supervisor-protocol.h"
#include "services/tasks/task-record.h"
#include "services/tasks/task-store.h"

typedef struct Task Task;
typedef struct TaskTable TaskTable;
typedef struct TaskStart TaskStart;
typedef struct TaskRemoval TaskRemoval;

typedef enum TaskState {
        TASK_CREATED,
        TASK_STARTING,
        TASK_RUNNING,
        TASK_STOPPED,
        _TASK_STATE_MAX,
        _TASK_STATE_INVALID = -22,
} TaskState;

const char *task_state_to_string(TaskState state);

/* Somebody who wants to hear of the outcome of something, once. */
typedef void (*TaskDone)(Task *task, int r, const Fault *fault, void *userdata);
typedef struct TaskWaiter {
        struct TaskWaiter *next;
        TaskDone done;
        void *userdata;
} TaskWaiter;

struct Task {
        TaskTable *table; /* weak */
        TaskRecord record;
        TaskState state;
        int directory; /* below /run; -EBADF: not made yet */
        BindSource *sources;
        size_t source_count;
        QuotaHold *hold;

        /* While it has a supervisor. */
        RunProcess supervisor;
        int supervisor_pidfd, payload_pidfd, control;
        int terminal; /* the master, as soon as the supervisor has handed it over */
        pid_t payload_pid;
        sd_event_source *supervisor_source, *control_source;
        bool has_bucket;
        unsigned bucket;

        TaskStart *start;     /* under way */
        TaskRemoval *removal; /* under way */
        bool creating;        /* Create has not answered yet */
        bool half_made;       /* a Create that never answered: being removed, and nobody sees it */
        bool removed;         /* all is gone, the outcome is still shown for a while */
        sd_event_source *linger;
        TaskWaiter *waiters; /* for the end */
        size_t waiter_count;
};

/* Takes the record. */
int task_new(TaskTable *table, TaskRecord *record, Task **ret);
Task *task_free(Task *task);
DEFINE_CLEANUP(Task *, task_free);

static inline bool task_is_running(const Task *task) {
        return task->state == TASK_STARTING || task->state == TASK_RUNNING;
}

/* What lists show. */
static inline bool task_is_listed(const Task *task) {
        return !task->creating && !task->half_made && !task->removed;
}

int task_waiter_add(TaskWaiter **list, TaskDone done, void *userdata);
void task_waiters_answer(TaskWaiter **list, Task *task, int r, const Fault *fault);

/* Answers when it has ended; -EDQUOT when too many wait. task_cancel_wait() takes that back. */
int task_wait(Task *task, TaskDone done, void *userdata, Fault *fault);
void task_cancel_wait(Task *task, TaskDone done, void *userdata);

/* Its directory below /run, made if need be. */
int task_open_directory(Task *task);
void task_remove_directory(Task *task);

void task_set_state(Task *task, TaskState state);
/* It has ended, or could not be started: noted, told to everybody, and removed if that was asked for. */
void task_end(Task *task, const RunExit *end);

/* -EBUSY if it does not run. */
int task_kill(Task *task, int signal, bool all, Fault *fault);
int task_resize(Task *task, uint32_t rows, uint32_t columns, Fault *fault);

/* ---- task-supervisor.c: the process that stays with it ---- */

/* Executes one, with its listening socket, in this service's own cgroup. */
int task_spawn_supervisor(Task *task, Fault *fault);
/* One that an earlier run of the service left. */
int task_adopt_supervisor(Task *task, const RunProcess *process);
/* Sends GO. The descriptors stay the caller's. */
int task_send_go(Task *task, const SupervisorMessage *go, const int *fds, size_t fd_count);
/* Lets go of the control connection; before GO the supervisor ends by this. */
void task_abandon_supervisor(Task *task);

/* ---- task-start.c ---- */

typedef struct TaskStartRequest {
        int standard[3]; /* borrowed; -EBADF: not given */
        uint32_t rows, columns;
        void (*done)(Task *task, int r, int terminal, const Fault *fault, void *userdata);
        void *userdata;
} TaskStartRequest;

/* r >= 0: done() is called later, with a borrowed descriptor of the terminal or -EBADF. */
int task_start(Task *task, const TaskStartRequest *request, Fault *fault);
/* From task-supervisor.c: the supervisor speaks, or is gone. */
void task_start_on_started(Task *task, int terminal);
void task_start_on_ended(Task *task, const RunExit *end);
void task_start_on_supervisor_gone(Task *task);
/* Has the supervisor end, at a moment when systemd is not about to move it. */
void task_start_cancel(Task *task);
TaskStart *task_start_free(TaskStart *start);

/* ---- task-remove.c ---- */

/* Removes snapshot, record and directory; kills it before if force is set, -EBUSY if it runs otherwise. done
 * may be NULL. What fails is tried again, also after done() was told so. */
int task_remove(Task *task, bool force, TaskDone done, void *userdata, Fault *fault);
/* From task_end() and task-supervisor.c: goes on once it has ended and its supervisor is gone. */
void task_removal_continue(Task *task);
/* Whether it is waited for; one that failed for long is left to the next Delete or run of the service. */
bool task_removal_is_busy(const TaskRemoval *removal);
TaskRemoval *task_removal_free(TaskRemoval *removal);
