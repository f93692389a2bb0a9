/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Handing out the trees of snapshots as mounts, and knowing which are in use. */

#include "services/snapshots/snapshot-manager.h"

typedef struct SnapshotMountOptions {
        bool read_only;
        bool is_volatile;
        bool no_setuid; /* for callers who may not make a setuid file run */
        int users;      /* a user namespace whose ids are seen on it; -EBADF: those of the disk */
} SnapshotMountOptions;

/* The descriptor of a detached mount. Device nodes can't be opened on it. */
int snapshot_mount(SnapshotManager *manager, const Snapshot *snapshot, const SnapshotMountOptions *options,
                   Fault *fault);

/* 0, or -EBUSY with a sentence: it is mounted for writing. Of trees that are no overlays nobody can know. */
int snapshot_mount_check_unused(SnapshotManager *manager, const Snapshot *snapshot, Fault *fault);
