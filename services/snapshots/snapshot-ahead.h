/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a mount costs that does not depend on who asks for it, done while nobody waits: once something was
 * made to be mounted, or mounted, the layers that it is on are looked up for the next mount of them,
 * whosever it is. One is kept for each of the few chains that are remembered (snapshot-chain.h), and goes
 * with these. */

#include "services/snapshots/snapshot-manager.h"

int snapshot_ahead_new(SnapshotManager *manager, SnapshotAhead **ret);
SnapshotAhead *snapshot_ahead_free(SnapshotAhead *ahead);

/* It, or something like it, will probably be mounted soon. */
void snapshot_ahead_expect(SnapshotAhead *ahead, const Snapshot *snapshot);
