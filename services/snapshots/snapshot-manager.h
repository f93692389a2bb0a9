/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Snapshots as callers know them: records, trees and mounts kept in step. Errors come with a sentence for
 * the caller. */

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "lib/fault.h"
#include "lib/macros.h"
#include "services/snapshots/mount-watch.h"
#include "services/snapshots/snapshot-chain.h"
#include "services/snapshots/snapshot-driver.h"
#include "services/snapshots/snapshot-store.h"
#include "services/snapshots/tree-mount.h"
#include "services/snapshots/tree-store.h"
#include "services/snapshots/user-namespace.h"

typedef struct SnapshotAhead SnapshotAhead;
typedef struct SnapshotCommit SnapshotCommit;
typedef struct SnapshotFill SnapshotFill;
typedef struct SnapshotHold SnapshotHold;
typedef struct SnapshotRecovery SnapshotRecovery;
typedef struct SnapshotSync SnapshotSync;
typedef struct TrashCollector TrashCollector;

typedef struct SnapshotManager {
        sd_event *event;
        SnapshotDriverKind driver; /* of new snapshots that ask for none */
        uint64_t bytes_per_uid;    /* of committed snapshots, of users who are limited */
        SnapshotStore *store;
        TreeStore trees;
        TreeMounts *tree_mounts;
        MountWatch *mounts;
        UserNamespaces *users;
        SnapshotChains *chains;
        SnapshotAhead *ahead; /* snapshot-ahead.c */
        TrashCollector *trash;
        SnapshotCommit *commits;                    /* waiting for the disk; snapshot-commit.c */
        SnapshotSync *syncs;                        /* the workers that some of them wait for */
        SnapshotFill *fills;                        /* being prepared; snapshot-fill.c */
        bool in_step;                               /* records and trees, as far as is known */
        SnapshotRecovery *recovery;                 /* not all is; snapshot-recovery.c */
        SnapshotHold *holds;                        /* what is being read; snapshot-hold.c */
        void (*unbind)(int64_t id, void *userdata); /* was removed, or is committed; may be NULL */
        void *unbind_userdata;
} SnapshotManager;

typedef struct SnapshotManagerSpec {
        sd_event *event;
        int state; /* directory; borrowed */
        const char *boot_id;
        const char *driver; /* of new snapshots that ask for none; NULL: what fits the file system */
        uint64_t bytes_per_uid;
        bool old_kernel;     /* for tests: mount as old kernels want it */
        bool images_by_loop; /* likewise */
} SnapshotManagerSpec;

/* Also brings records and trees back in step, as an earlier run may have been killed at any point. */
int snapshot_manager_new(const SnapshotManagerSpec *spec, SnapshotManager **ret, Fault *fault);
SnapshotManager *snapshot_manager_free(SnapshotManager *manager);
DEFINE_CLEANUP(SnapshotManager *, snapshot_manager_free);
/* Commits that wait, or trees that are being deleted or looked at. */
bool snapshot_manager_is_busy(const SnapshotManager *manager);
bool snapshot_manager_is_committing(const SnapshotManager *manager);

/* Whatever connection it was bound to need not be watched any more. */
void snapshot_manager_unbind(SnapshotManager *manager, int64_t id);

/* Labels: see label_change(). */
int snapshot_manager_update(SnapshotManager *manager, const char *namespace, const char *key,
                            char *const *changes, bool replace, Fault *fault);
int snapshot_manager_remove(SnapshotManager *manager, const char *namespace, const char *key, Fault *fault);

/* Nobody uses it, and it may be removed: 0, or -EBUSY with a sentence. */
int snapshot_manager_check_removable(SnapshotManager *manager, const Snapshot *snapshot, Fault *fault);
/* Many with one sync, in their order, that were found to be so in this moment. What others are built on
 * stays. Without success all stay. */
int snapshot_manager_remove_many(SnapshotManager *manager, const Snapshot snapshots[], size_t count,
                                 bool ret_removed[]);

/* Its tree goes to the trash and only Remove is left. For an unpacking that failed. */
void snapshot_manager_fail(SnapshotManager *manager, int64_t id);
