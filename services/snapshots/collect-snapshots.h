/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Snapshots' part in a garbage collection: the list of all that there is and of what keeps it, and one
 * snapshot after the other that goes. It knows no bus. */

#include <stdbool.h>
#include <stdint.h>

#include "lib/record-file.h"
#include "services/snapshots/snapshot-manager.h"

typedef struct SnapshotInventory SnapshotInventory;

int snapshot_inventory_new(SnapshotManager *manager, bool roots, SnapshotInventory **ret);
SnapshotInventory *snapshot_inventory_free(SnapshotInventory *inventory);
DEFINE_CLEANUP(SnapshotInventory *, snapshot_inventory_free);
/* Some more records; 1 if there are still others. */
int snapshot_inventory_step(SnapshotInventory *inventory, RecordWriter *writer);

/* Snapshots that nothing was found to need, as they were when they were listed: what is needed after all, or
 * is another one by now, is passed over. Nothing else may happen between the first of them and the commit,
 * with which they go all at once, and with one sync. */
typedef struct SnapshotSweep SnapshotSweep;

int snapshot_sweep_new(SnapshotManager *manager, SnapshotSweep **ret);
SnapshotSweep *snapshot_sweep_free(SnapshotSweep *sweep);
DEFINE_CLEANUP(SnapshotSweep *, snapshot_sweep_free);
int snapshot_sweep_add(SnapshotSweep *sweep, const RecordField *namespace, const RecordField *key,
                       const RecordField *stamp);
int snapshot_sweep_commit(SnapshotSweep *sweep, uint32_t *ret_gone, uint64_t *ret_bytes);
