/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What committed snapshots are built on, remembered: containers are made from the same few images again and
 * again, and a chain of a hundred layers is not looked up in no time. */

#include "services/snapshots/snapshot-store.h"
#include "services/snapshots/tree-mount.h"

typedef struct SnapshotChains SnapshotChains;

int snapshot_chains_new(SnapshotChains **ret);
SnapshotChains *snapshot_chains_free(SnapshotChains *chains);
DEFINE_CLEANUP(SnapshotChains *, snapshot_chains_free);

/* A snapshot and all below it, from the top; malloc()ed. */
int snapshot_chains_get(SnapshotChains *chains, SnapshotStore *store, const Snapshot *snapshot,
                        SnapshotLayer **ret, size_t *ret_count);
/* The layers of a mount of what is on top, looked up before anybody asks: tree_mounts_begin(). Nothing is
 * made where there is one already; an error is none to speak of. */
void snapshot_chains_begin(SnapshotChains *chains, SnapshotStore *store, TreeMounts *mounts, int64_t top);
/* What was begun, for one mount; -ENOENT: nothing. */
int snapshot_chains_take_begun(SnapshotChains *chains, int64_t top);
/* Something committed is another now, or gone. */
void snapshot_chains_forget(SnapshotChains *chains);
