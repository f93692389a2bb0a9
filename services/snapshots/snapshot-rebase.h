/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Which parents a snapshot may be put on when it is committed. */

#include "services/snapshots/snapshot-store.h"

/* 0, or -EBUSY with a sentence. Right is any parent for what was made without one; else the parent that it
 * was made on, another of the same layers, or one that is built on these: what it changed, it changes there.
 */
int snapshot_rebase_check(SnapshotStore *store, const Snapshot *snapshot, const Snapshot *parent,
                          Fault *fault);
