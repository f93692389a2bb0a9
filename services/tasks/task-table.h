/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* All containers, in the order of namespace and id, and what they share. */

#include "services/tasks/spec.h"
#include "services/tasks/task-barrier.h"
#include "services/tasks/task.h"

/* What others are told. task_gone comes before the task is freed. */
typedef struct TaskObserver {
        void (*added)(Task *task, void *userdata);
        void (*changed)(Task *task, void *userdata);
        void (*gone)(Task *task, void *userdata);
        void *userdata;
} TaskObserver;

struct TaskTable {
        sd_event *event;    /* weak */
        Siblings *siblings; /* weak */
        TaskStore *store;
        int runtime_directory;
        int cache_directory;    /* of compiled system call filters */
        int supervisor_program; /* on a read-only mount: a container's root cannot write to it
                                   (runtime/own-binary.h) */
        TaskObserver observer;
        ScopeBuckets buckets;
        Task **tasks;
        size_t count;
        unsigned creating;     /* creations under way */
        TaskBarrier resolving; /* those that know of an image what nobody else can see yet */
        bool recovering;       /* nobody is told */
};

typedef struct TaskTableSpec {
        sd_event *event;
        Siblings *siblings;
        int state_directory, runtime_directory; /* taken */
        TaskObserver observer;
} TaskTableSpec;

int task_table_new(const TaskTableSpec *spec, TaskTable **ret, Fault *fault);
TaskTable *task_table_free(TaskTable *table);
DEFINE_CLEANUP(TaskTable *, task_table_free);

/* NULL if there is none. One whose removal is only still shown counts. */
Task *task_table_find(TaskTable *table, const char *namespace, const char *id);
/* The index of the first task of that namespace behind that id (NULL: the first at all). */
size_t task_table_first(TaskTable *table, const char *namespace, const char *after);
int task_table_insert(TaskTable *table, Task *task);
/* Takes it out, without freeing it. */
void task_table_drop(TaskTable *table, Task *task);
/* Takes it out, tells the observer, and frees it. */
void task_table_forget(Task *task);

/* True while there is something that only this process knows. */
bool task_table_is_busy(const TaskTable *table);
/* The service stops: those who wait are told to ask again, and what is only still shown is forgotten. */
void task_table_release_waiters(TaskTable *table);

/* task-recover.c: all containers that there are, from the database, /run and the kernel. */
int task_table_recover(TaskTable *table, Fault *fault);
/* A supervisor says that this container has ended. */
void task_table_note_end(TaskTable *table, const char *namespace, const char *id);

/* task-create.c */
typedef struct TaskCreateRequest {
        const char *namespace, *id, *image;
        uid_t owner;
        char **arguments, **entrypoint, **environment, **labels; /* NULL: not given */
        const char *working_directory, *user, *hostname, *stop_signal;
        bool terminal, read_only, is_volatile, auto_remove;
        ScopeLimits limits;
        uint64_t rootfs_size_max; /* of what is written to its tree; 0: no limit */
        SpecMount *mounts;
        size_t mount_count;
        BindSource *sources; /* of mounts without a source path, in their order */
        size_t source_count;
} TaskCreateRequest;

/* Frees what mounts and sources hold. */
void task_create_request_done(TaskCreateRequest *request);
/* Takes the lists of the request, whatever it returns; strings that it points to are copied. r >= 0: done()
 * is called later, with the task or NULL. */
int task_create(TaskTable *table, TaskCreateRequest *request, TaskDone done, void *userdata, Fault *fault);
