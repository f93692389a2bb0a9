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

/* A snapshot that nothing was found to need, as it was when it was listed. 1 and its bytes: it is gone; 0:
 * it is needed after all, or is another one by now. */
int snapshot_sweep(SnapshotManager *manager, const RecordField *namespace, const RecordField *key,
                   const RecordField *stamp, uint64_t *ret_bytes);
