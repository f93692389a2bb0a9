/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Snapshots as callers know them: records, trees and mounts kept in step. Errors come with a sentence for
 * the caller. */

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "lib/fault.h"
#include "lib/macros.h"
#include "services/snapshots/mount-watch.h"
#include "services/snapshots/snapshot-driver.h"
#include "services/snapshots/snapshot-store.h"
#include "services/snapshots/tree-store.h"

typedef struct SnapshotCommit SnapshotCommit;
typedef struct SnapshotSync SnapshotSync;
typedef struct TrashCollector TrashCollector;

typedef struct SnapshotManager {
        sd_event *event;
        const SnapshotDriver *driver;
        bool fallback; /* mounts are made as old kernels want it */
        SnapshotStore *store;
        TreeStore trees;
        MountWatch *mounts;
        TrashCollector *trash;
        SnapshotCommit *commits; /* waiting for the disk; snapshot-commit.c */
        SnapshotSync *syncs;     /* the workers that some of them wait for */
} SnapshotManager;

typedef struct SnapshotManagerSpec {
        sd_event *event;
        int state; /* directory; borrowed */
        const char *boot_id;
        bool force_fallback; /* for tests */
} SnapshotManagerSpec;

/* Also brings records and trees back in step, as an earlier run may have been killed at any point. */
int snapshot_manager_new(const SnapshotManagerSpec *spec, SnapshotManager **ret, Fault *fault);
SnapshotManager *snapshot_manager_free(SnapshotManager *manager);
DEFINE_CLEANUP(SnapshotManager *, snapshot_manager_free);
/* Commits that wait, or trees that are being deleted. */
bool snapshot_manager_is_busy(const SnapshotManager *manager);
bool snapshot_manager_is_committing(const SnapshotManager *manager);

typedef struct SnapshotRequest {
        const char *namespace;
        const char *key;
        const char *parent; /* "" none */
        uid_t uid;
        uint64_t limit; /* of this user's snapshots; 0: none */
        char *const *labels;
} SnapshotRequest;

int snapshot_manager_prepare(SnapshotManager *manager, const SnapshotRequest *request, Fault *fault);
int snapshot_manager_view(SnapshotManager *manager, const SnapshotRequest *request, Fault *fault);
/* Labels: see label_change(). */
int snapshot_manager_update(SnapshotManager *manager, const char *namespace, const char *key,
                            char *const *changes, bool replace, Fault *fault);
int snapshot_manager_remove(SnapshotManager *manager, const char *namespace, const char *key, Fault *fault);

typedef struct SnapshotMountOptions {
        bool read_only;
        bool is_volatile;
        bool no_setuid; /* for callers who may not make a setuid file run */
} SnapshotMountOptions;

/* The descriptor of a detached mount. Device nodes can't be opened on it. */
int snapshot_manager_mount(SnapshotManager *manager, const char *namespace, const char *key,
                           const SnapshotMountOptions *options, Fault *fault);

/* 0, or -EBUSY with a sentence: it is mounted for writing. */
int snapshot_manager_check_unused(SnapshotManager *manager, const Snapshot *snapshot, Fault *fault);
/* Its tree goes to the trash and only Remove is left. For an unpacking that failed. */
void snapshot_manager_fail(SnapshotManager *manager, int64_t id);
