/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Committed snapshots that are compared with what they were when they were committed, one after the other.
 * What is found is recorded: a damaged one is not built on any more. */

#include "services/snapshots/snapshot-manager.h"

typedef struct VerifyTask VerifyTask;
typedef struct VerifyTable VerifyTable;

int verify_table_new(SnapshotManager *manager, VerifyTable **ret);
VerifyTable *verify_table_free(VerifyTable *table);
DEFINE_CLEANUP(VerifyTable *, verify_table_free);

typedef struct VerifyOutcome {
        uint64_t checked;     /* snapshots */
        uint64_t unknown;     /* of which nothing was noted when they were committed */
        char *const *damaged; /* their keys */
} VerifyOutcome;

typedef struct VerifySpec {
        const char *namespace;
        const char *key; /* "": all committed ones of the namespace */
        uid_t uid;
        bool limited;                                        /* somebody who must leave room for others */
        void (*on_progress)(uint64_t bytes, void *userdata); /* read so far */
        void (*on_end)(int r, const VerifyOutcome *outcome, const Fault *fault, void *userdata); /* once */
        void *userdata;
} VerifySpec;

/* 0 if it can be begun: what verify_task_new() would say. */
int verify_task_check(VerifyTable *table, const VerifySpec *spec, Fault *fault);
/* Nothing is called before this returns; the task is the table's, valid until on_end. */
int verify_task_new(VerifyTable *table, const VerifySpec *spec, VerifyTask **ret, Fault *fault);
/* Ends it: on_end(-ECANCELED). */
void verify_task_cancel(VerifyTask *task);
