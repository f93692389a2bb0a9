/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Trees that a worker fills with what is in their parents, a few at a time. */

#include "services/snapshots/snapshot-manager.h"

typedef struct SnapshotFillSpec {
        const Snapshot *snapshot; /* of state SNAPSHOT_FILLING */
        bool limited;             /* for somebody who must leave room for others */
        void (*on_end)(int r, const Fault *fault, void *userdata); /* once, never before this returns */
        void *userdata;
} SnapshotFillSpec;

/* If it fails, now or later, the snapshot is gone. */
int snapshot_fill_start(SnapshotManager *manager, const SnapshotFillSpec *spec, Fault *fault);
/* It will not be filled: record and tree go, now or at the next start. */
void snapshot_fill_forget(SnapshotManager *manager, int64_t id);
void snapshot_fill_free_all(SnapshotManager *manager);
