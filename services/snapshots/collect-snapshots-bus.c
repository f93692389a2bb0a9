/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/collect-snapshots-bus.h"

#include <errno.h>

#include "bus/bus-names.h"
#include "bus/quota.h"
#include "services/snapshots/collect-snapshots.h"
#include "services/snapshots/snapshot-commit.h"

struct SnapshotCollector {
        SnapshotManager *manager; /* weak */
        SnapshotSweep *sweep;
        Collector *collector;
};

static int new_inventory(void *owner, bool roots, void **ret_cursor) {
        const SnapshotCollector *snapshots = owner;
        SnapshotInventory *inventory;
        int r = snapshot_inventory_new(snapshots->manager, roots, &inventory);
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

static int sweep(void *owner, const RecordField fields[RECORD_FIELDS_MAX]) {
        const SnapshotCollector *snapshots = owner;
        return snapshot_sweep_add(snapshots->sweep, &fields[COLLECTOR_NAMESPACE], &fields[COLLECTOR_NAME],
                                  &fields[COLLECTOR_STAMP]);
}

static int commit_sweep(void *owner, uint32_t *ret_gone, uint64_t *ret_bytes) {
        const SnapshotCollector *snapshots = owner;
        return snapshot_sweep_commit(snapshots->sweep, ret_gone, ret_bytes);
}

static bool is_settling(void *owner) {
        const SnapshotCollector *snapshots = owner;
        return snapshot_commit_may_keep(snapshots->manager);
}

static void on_change(void *userdata) {
        const SnapshotCollector *snapshots = userdata;
        collector_note_change(snapshots->collector);
}

/* What may label something, or bring it into use with all that its labels refer to; and what may undo that.
 */
static const CallGateMember gated[] = {
        { CRT_SNAPSHOTS_INTERFACE, "Prepare" },
        { CRT_SNAPSHOTS_INTERFACE, "View" },
        { CRT_SNAPSHOTS_INTERFACE, "Commit" },
        { CRT_SNAPSHOTS_INTERFACE, "Update" },
        { CRT_SNAPSHOTS_INTERFACE, "Unpack" },
        { CRT_SNAPSHOTS_INTERFACE, "Mount" },
        { CRT_SNAPSHOTS_INTERFACE, "Remove", .follows = true },
};

int snapshot_collector_new(sd_bus *bus, SnapshotManager *manager, SnapshotCollector **ret) {
        _cleanup_(snapshot_collector_freep) SnapshotCollector *snapshots = new0(SnapshotCollector, 1);
        if (!snapshots)
                return -ENOMEM;
        snapshots->manager = manager;
        const CollectorSpec spec = {
                .path = CRT_SNAPSHOTS_PATH,
                .interface = CRT_SNAPSHOTS_COLLECTOR_INTERFACE,
                .owner = snapshots,
                .inventory_new = new_inventory,
                .inventory_step = step_inventory,
                .inventory_free = free_inventory,
                .sweep = sweep,
                .sweep_commit = commit_sweep,
                .gated = gated,
                .gated_count = ELEMENTS_OF(gated),
                .is_settling = is_settling,
        };
        int r = snapshot_sweep_new(manager, &snapshots->sweep);
        if (r >= 0)
                r = collector_new(bus, &spec, &snapshots->collector);
        if (r < 0)
                return r;
        snapshot_store_watch(manager->store, on_change, snapshots);
        snapshot_store_limit_labels(manager->store, quota_uid_is_limited);
        *ret = TAKE_PTR(snapshots);
        return 0;
}

SnapshotCollector *snapshot_collector_free(SnapshotCollector *snapshots) {
        if (!snapshots)
                return NULL;
        snapshot_store_watch(snapshots->manager->store, NULL, NULL);
        collector_free(snapshots->collector);
        snapshot_sweep_free(snapshots->sweep);
        return mfree(snapshots);
}

bool snapshot_collector_is_busy(const SnapshotCollector *snapshots) {
        return collector_is_busy(snapshots->collector);
}
