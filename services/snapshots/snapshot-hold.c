/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/snapshot-hold.h"

#include <errno.h>

struct SnapshotHold {
        SnapshotHold *next;
        SnapshotManager *manager; /* weak */
        int64_t id;
};

int snapshot_hold_new(SnapshotManager *manager, int64_t id, SnapshotHold **ret) {
        SnapshotHold *hold = new0(SnapshotHold, 1);
        if (!hold)
                return -ENOMEM;
        *hold = (SnapshotHold){ .next = manager->holds, .manager = manager, .id = id };
        manager->holds = *ret = hold;
        return 0;
}

SnapshotHold *snapshot_hold_free(SnapshotHold *hold) {
        if (!hold)
                return NULL;
        SnapshotHold **place = &hold->manager->holds;
        while (*place != hold)
                place = &(*place)->next;
        *place = hold->next;
        return mfree(hold);
}

int snapshot_hold_check(const SnapshotManager *manager, const Snapshot *snapshot, Fault *fault) {
        for (const SnapshotHold *hold = manager->holds; hold; hold = hold->next)
                if (hold->id == snapshot->id)
                        return fault_set(fault, -EBUSY, "The snapshot '%s' is in use: it is being read",
                                         snapshot->key);
        return 0;
}
