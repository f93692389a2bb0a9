/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Layers that are being made out of snapshots, each by a worker of its own. */

#include <stdbool.h>
#include <sys/types.h>

#include "lib/media-type.h"
#include "services/snapshots/snapshot-manager.h"

typedef struct DiffTask DiffTask;
typedef struct DiffTable DiffTable;

int diff_table_new(SnapshotManager *manager, DiffTable **ret);
DiffTable *diff_table_free(DiffTable *table);
DEFINE_CLEANUP(DiffTable *, diff_table_free);

typedef struct DiffOutcome {
        const char *diff_id;
        const char *digest;
        uint64_t size;
} DiffOutcome;

typedef struct DiffSpec {
        const char *namespace;
        const char *key;
        const char *lower; /* what it is compared with; NULL: its parent; "": nothing */
        Compression compression;
        int level; /* 0: the usual one */
        bool clamp;
        int64_t epoch; /* seconds since 1970: no time is later */
        uid_t uid;
        bool limited; /* somebody who must leave room for others */

        void (*on_progress)(uint64_t bytes, void *userdata);
        void (*on_end)(int r, const DiffOutcome *outcome, const Fault *fault, void *userdata); /* once */
        void *userdata;
} DiffSpec;

/* 0 if it can be begun: what diff_task_new() would say. */
int diff_task_check(DiffTable *table, const DiffSpec *spec, Fault *fault);
/* *ret_layer: the end of a pipe to read from. Nothing is called before this returns; the task is the
 * table's, valid until on_end. */
int diff_task_new(DiffTable *table, const DiffSpec *spec, DiffTask **ret, int *ret_layer, Fault *fault);
/* Ends it: on_end(-ECANCELED). */
void diff_task_cancel(DiffTask *task);
