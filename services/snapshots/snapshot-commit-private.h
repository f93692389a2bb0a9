/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What snapshot-commit.c and snapshot-sync.c share. */

#include "services/snapshots/snapshot-commit.h"
#include "services/snapshots/snapshot-record.h"

struct SnapshotCommit {
        SnapshotCommit *next;
        SnapshotManager *manager; /* weak */
        SnapshotSync *sync;       /* the worker that has it now */
        bool alone;               /* it failed together with others, and shall not take them along again */
        int64_t id;
        int64_t parent_id;
        char *name;
        char *namespace;
        char **labels;
        int64_t replaces; /* a damaged one of the same name and layer; 0: none */
        bool measured;
        SnapshotMeasure measure;
        void (*on_end)(int r, const Fault *fault, void *userdata);
        void *userdata;
};

/* The tree is on the disk, or r says why it is not: the record, and whoever asked is told. */
void snapshot_commit_end(SnapshotCommit *commit, int r, Fault *fault);
/* What the commit took away goes, or is there again. */
void snapshot_commit_settle(const SnapshotCommit *commit, bool committed);

int snapshot_sync_setup(SnapshotManager *manager);
void snapshot_sync_free_all(SnapshotManager *manager);
/* Begins with those of the manager's commits that nobody works at, as far as there are places. */
void snapshot_sync_start(SnapshotManager *manager);
