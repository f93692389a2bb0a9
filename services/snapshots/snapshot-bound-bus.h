/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Snapshots that do not outlive a connection. When it has ended they are removed, at once or as soon as they
 * are not mounted for writing any more; the mount itself nobody can take back. */

#include "bus/peer.h"
#include "services/snapshots/snapshot-manager.h"

typedef struct SnapshotsBound SnapshotsBound;

/* Both borrowed. Also takes up what an earlier run of the service had. */
int snapshots_bound_new(SnapshotManager *manager, PeerRegistry *peers, SnapshotsBound **ret, Fault *fault);
SnapshotsBound *snapshots_bound_free(SnapshotsBound *bound);
DEFINE_CLEANUP(SnapshotsBound *, snapshots_bound_free);

/* What is bound will be removed, which only its maker and root may ask for: -EACCES. */
int snapshots_bound_check(const Snapshot *snapshot, const Peer *peer, Fault *fault);
int snapshots_bound_add(SnapshotsBound *bound, const Snapshot *snapshot, Peer *peer, Fault *fault);
/* Somebody must be here when the connections end. */
bool snapshots_bound_is_busy(const SnapshotsBound *bound);
