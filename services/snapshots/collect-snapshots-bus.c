/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/collect-snapshots-bus.h"

#include "bus/bus-names.h"
#include "services/snapshots/collect-snapshots.h"

static int new_inventory(void *owner, bool roots, void **ret_cursor) {
        SnapshotInventory *inventory;
        int r = snapshot_inventory_new(owner, roots, &inventory);
        if (r >= 0)
                *ret_cursor = inventory;
        return r;
}

static int step_inventory(void *cursor, RecordWriter *writer) {
        return snapshot_inventory_step(cursor, writer);
}

static void free_inventory(void *cursor) {
        snapshot_inventory_free(cursor);
}

static int sweep(void *owner, const RecordField fields[RECORD_FIELDS_MAX], uint64_t *ret_bytes) {
        return snapshot_sweep(owner, &fields[COLLECTOR_NAMESPACE], &fields[COLLECTOR_NAME],
                              &fields[COLLECTOR_STAMP], ret_bytes);
}

int snapshot_collector_new(sd_bus *bus, SnapshotManager *manager, Collector **ret) {
        const CollectorSpec spec = {
                .path = CRT_SNAPSHOTS_PATH,
                .interface = CRT_SNAPSHOTS_COLLECTOR_INTERFACE,
                .owner = manager,
                .inventory_new = new_inventory,
                .inventory_step = step_inventory,
                .inventory_free = free_inventory,
                .sweep = sweep,
        };
        return collector_new(bus, &spec, ret);
}
