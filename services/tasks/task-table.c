/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/tasks/task-table.h"

#include <errno.h>
#include <string.h>

#include "lib/fd.h"
#include "lib/path.h"
#include "runtime/own-binary.h"

#define CACHE_DIRECTORY ".seccomp"
#define SUPERVISOR_PROGRAM CRT_LIBEXECDIR "/crt-supervisor"

int task_table_new(const TaskTableSpec *spec, TaskTable **ret, Fault *fault) {
        _cleanup_close_ int state_directory = spec->state_directory,
                            runtime_directory = spec->runtime_directory;
        _cleanup_(task_table_freep) TaskTable *table = new0(TaskTable, 1);
        if (!table)
                return -ENOMEM;
        *table = (TaskTable){
                .event = spec->event,
                .siblings = spec->siblings,
                .observer = spec->observer,
                .runtime_directory = TAKE_FD(runtime_directory),
                .cache_directory = -EBADF,
                .supervisor_program = -EBADF,
        };
        int r = task_store_open(state_directory, &table->store, fault);
        if (r < 0)
                return r;
        table->cache_directory =
                path_make_directories(table->runtime_directory, CACHE_DIRECTORY, 0700, PATH_BENEATH);
        if (table->cache_directory < 0)
                return fault_set_errno(fault, table->cache_directory, "the runtime directory");
        table->supervisor_program = own_binary_open(SUPERVISOR_PROGRAM, fault);
        if (table->supervisor_program < 0)
                return table->supervisor_program;
        r = task_table_recover(table, fault);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(table);
        return 0;
}

TaskTable *task_table_free(TaskTable *table) {
        if (!table)
                return NULL;
        for (size_t i = 0; i < table->count; i++)
                task_free(table->tasks[i]);
        free(table->tasks);
        scope_buckets_done(&table->buckets);
        task_store_free(table->store);
        fd_close(table->runtime_directory);
        fd_close(table->cache_directory);
        fd_close(table->supervisor_program);
        return mfree(table);
}

static int compare(const Task *task, const char *namespace, const char *id) {
        int r = strcmp(task->record.namespace, namespace);
        return r != 0 ? r : strcmp(task->record.id, id);
}

/* The index of the first task that does not come before that name. */
static size_t lower_bound(const TaskTable *table, const char *namespace, const char *id) {
        size_t low = 0, high = table->count;
        while (low < high) {
                size_t middle = low + (high - low) / 2;
                if (compare(table->tasks[middle], namespace, id) < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

Task *task_table_find(TaskTable *table, const char *namespace, const char *id) {
        size_t i = lower_bound(table, namespace, id);
        return i < table->count && compare(table->tasks[i], namespace, id) == 0 ? table->tasks[i] : NULL;
}

size_t task_table_first(TaskTable *table, const char *namespace, const char *after) {
        size_t i = lower_bound(table, namespace, after ? after : "");
        if (after && i < table->count && compare(table->tasks[i], namespace, after) == 0)
                i++;
        return i;
}

int task_table_insert(TaskTable *table, Task *task) {
        size_t i = lower_bound(table, task->record.namespace, task->record.id);
        Task **larger = realloc(table->tasks, (table->count + 1) * sizeof(Task *));
        if (!larger)
                return -ENOMEM;
        table->tasks = larger;
        memmove(larger + i + 1, larger + i, (table->count - i) * sizeof(Task *));
        larger[i] = task;
        table->count++;
        return 0;
}

void task_table_drop(TaskTable *table, Task *task) {
        size_t i = lower_bound(table, task->record.namespace, task->record.id);
        if (i >= table->count || table->tasks[i] != task)
                return;
        table->count--;
        memmove(table->tasks + i, table->tasks + i + 1, (table->count - i) * sizeof(Task *));
}

void task_table_forget(Task *task) {
        TaskTable *table = task->table;
        task_table_drop(table, task);
        if (!table->recovering && !task->creating && !task->half_made && table->observer.gone)
                table->observer.gone(task, table->observer.userdata);
        task_free(task);
}

bool task_table_is_busy(const TaskTable *table) {
        for (size_t i = 0; i < table->count; i++) {
                const Task *task = table->tasks[i];
                if (task->start || task_removal_is_busy(task->removal) || task->creating || task->removed ||
                    task->waiters)
                        return true;
        }
        return table->creating > 0;
}

void task_table_release_waiters(TaskTable *table) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        int r = fault_set(&fault, -EHOSTUNREACH, "the service stops; the container goes on, ask again");
        for (size_t i = table->count; i > 0; i--) {
                Task *task = table->tasks[i - 1];
                task->waiter_count = 0;
                task_waiters_answer(&task->waiters, task, r, &fault);
                if (task->removed)
                        task_table_forget(task);
        }
}
