/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Damaged layers, and how a new one takes their place: their layer is unpacked again and committed under the
 * same name. What is built on the damaged one then is built on the new one. */

#include "services/snapshots/snapshot-manager.h"

/* 0, or -EBUSY with a sentence: something that the snapshot is built on is damaged. */
int snapshot_check_whole(SnapshotStore *store, const Snapshot *snapshot, Fault *fault);

/* other is damaged, and snapshot, once it is committed on that parent, is the same layer. */
bool snapshot_can_replace(const Snapshot *other, const Snapshot *snapshot, int64_t parent_id);

/* Commits an active one in the place of the damaged one with that number. */
int snapshot_replace_damaged(SnapshotManager *manager, int64_t damaged, const SnapshotStoreCommit *commit,
                             Fault *fault);
