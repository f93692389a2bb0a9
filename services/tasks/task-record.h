/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What is known about a container for as long as it exists, and is kept in the database. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/macros.h"
#include "services/tasks/scope.h"

#define TASK_STATUS_NONE (-1)
#define TASK_STATUS_UNKNOWN 255

typedef struct TaskRecord {
        char *namespace, *id;
        char *image, *image_digest;
        char *parent;   /* the snapshot that the writable one is prepared from */
        char *config;   /* config.json; NULL once it is in the database */
        char **command; /* its process.args */
        char **labels;  /* KEY=value */
        char **sources; /* identities of bind sources (bind-source.h) */
        uid_t owner;
        bool terminal, is_volatile, auto_remove;
        int stop_signal;
        ScopeLimits limits;
        uint64_t rootfs_size_max; /* of what is written to its tree; 0: no limit */

        uint64_t created, started, finished; /* microseconds since 1970; 0: never */
        int exit_status;                     /* TASK_STATUS_NONE before the end */
        char *error;                         /* NULL: none */
} TaskRecord;

void task_record_done(TaskRecord *record);

/* The key of its writable snapshot, a fresh string. */
int task_record_snapshot_key(const TaskRecord *record, char **ret);
