/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/snapshot-repair.h"

#include <errno.h>
#include <string.h>

#include "lib/log.h"
#include "lib/strv.h"
#include "services/snapshots/trash-collector.h"

int snapshot_check_whole(SnapshotStore *store, const Snapshot *snapshot, Fault *fault) {
        _cleanup_free_ char *damaged = NULL;
        int r = snapshot_store_find_damaged(store, snapshot->id, &damaged);
        if (r <= 0)
                return r < 0 ? fault_set_errno(fault, r, "Can't find what '%s' is built on", snapshot->key)
                             : 0;
        return fault_set(fault, -EBUSY, "The snapshot '%s' is built on '%s', which is damaged",
                         snapshot->key, damaged);
}

bool snapshot_can_replace(const Snapshot *other, const Snapshot *snapshot, int64_t parent_id) {
        return other->kind == SNAPSHOT_COMMITTED && other->state == SNAPSHOT_DAMAGED && snapshot->diff_id &&
               string_equal(other->diff_id, snapshot->diff_id) && other->parent_id == parent_id;
}

/*  1. The damaged tree is put aside, not deleted: containers may be running on it, which keep what is left
 * of it. The next boot deletes it.
 *  2. One transaction: the new one gets its name and its children, and the damaged record goes.
 *
 * Killed in between, the record is still that of a damaged snapshot, now without a tree, and the new one can
 * be committed once more. */
int snapshot_replace_damaged(SnapshotManager *manager, int64_t damaged, const SnapshotStoreCommit *commit,
                             Fault *fault) {
        int r = tree_store_put_aside(&manager->trees, damaged, fault);
        if (r >= 0)
                r = snapshot_store_replace(manager->store, damaged, commit, fault);
        if (r < 0) {
                int k = tree_store_take_back(&manager->trees, damaged);
                if (k < 0)
                        log_warning("the tree of the damaged snapshot %s stays aside: %s", commit->name,
                                    strerror(-k));
                return r;
        }
        tree_mounts_release(manager->tree_mounts, damaged);
        return 0;
}
