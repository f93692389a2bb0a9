/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Commits: first the tree is finished and written to the disk by a worker, then the record says that it is
 * there. One sync serves all commits of a namespace that wait when it begins, so a pull of many layers syncs
 * as often as the disk is quick, at most once for each layer; the commits of one namespace do not wait for
 * those of another. */

#include "services/snapshots/snapshot-manager.h"

typedef struct SnapshotCommitSpec {
        const char *namespace;
        const char *key;
        const char *name;
        const char *parent;  /* to put it on; NULL: as it was prepared */
        char *const *labels; /* changes to those that it has */
        void (*on_end)(int r, const Fault *fault, void *userdata); /* once; may be before the call returns */
        void *userdata;
} SnapshotCommitSpec;

/* Negative: refused at once, on_end is not called. */
int snapshot_commit_start(SnapshotManager *manager, const SnapshotCommitSpec *spec, Fault *fault);

/* 0, or -EBUSY with a sentence while it is being committed. */
int snapshot_commit_check_idle(const SnapshotManager *manager, const Snapshot *snapshot, Fault *fault);

/* As that, before the tree of an active snapshot is used, or committed again; and it is put in order if that
 * was not done after a commit that failed: who wrote to what that commit made would write to what is thrown
 * away. */
int snapshot_commit_check_settled(SnapshotManager *manager, const Snapshot *snapshot, Fault *fault);

/* Some commit is at work whose record may keep things that nothing has kept. */
bool snapshot_commit_may_keep(const SnapshotManager *manager);

int snapshot_commit_setup(SnapshotManager *manager);
/* At the end of the daemon: nobody is told. */
void snapshot_commit_free_all(SnapshotManager *manager);
