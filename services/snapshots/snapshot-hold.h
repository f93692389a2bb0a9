/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Snapshots that a worker reads from, which stay as they are meanwhile. */

#include "services/snapshots/snapshot-manager.h"

int snapshot_hold_new(SnapshotManager *manager, int64_t id, SnapshotHold **ret);
SnapshotHold *snapshot_hold_free(SnapshotHold *hold);
DEFINE_CLEANUP(SnapshotHold *, snapshot_hold_free);

/* 0, or -EBUSY with a sentence. */
int snapshot_hold_check(const SnapshotManager *manager, const Snapshot *snapshot, Fault *fault);
