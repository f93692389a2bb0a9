/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The containers on disk. That they are made and removed is waited for until it is durable: what is lost of
 * the rest when the machine goes down is found out from what is left (task-recover.c). */

#include "lib/database.h"
#include "services/tasks/task-record.h"

typedef struct TaskStore TaskStore;

int task_store_open(int directory, TaskStore **ret, Fault *fault);
TaskStore *task_store_free(TaskStore *store);
DEFINE_CLEANUP(TaskStore *, task_store_free);

/* One transaction, one sync. -EEXIST. The configuration stays on disk: the service has no use for it. */
int task_store_add(TaskStore *store, const TaskRecord *record);
/* started, finished, exit_status and error. */
int task_store_update(TaskStore *store, const TaskRecord *record);
/* config.json, a fresh string. */
int task_store_read_config(TaskStore *store, const TaskRecord *record, char **ret);
int task_store_remove(TaskStore *store, const TaskRecord *record);

/* Hands over every record, without its configuration; what visit() does not take is freed. */
typedef int (*TaskStoreVisit)(TaskRecord *record, void *userdata);
int task_store_visit(TaskStore *store, TaskStoreVisit visit, void *userdata);
