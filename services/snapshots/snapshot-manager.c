/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/snapshot-manager.h"

#include <errno.h>
#include <string.h>

#include "lib/fd.h"
#include "lib/identifier.h"
#include "lib/label.h"
#include "lib/log.h"
#include "lib/strv.h"
#include "services/snapshots/snapshot-ahead.h"
#include "services/snapshots/snapshot-commit.h"
#include "services/snapshots/snapshot-fill.h"
#include "services/snapshots/snapshot-hold.h"
#include "services/snapshots/snapshot-make.h"
#include "services/snapshots/snapshot-mount.h"
#include "services/snapshots/snapshot-recovery.h"
#include "services/snapshots/snapshot-rules.h"
#include "services/snapshots/trash-collector.h"
#include "services/snapshots/tree-quota.h"

/* ---- life ---- */

static int open_mounts(SnapshotManager *manager, const SnapshotManagerSpec *spec, Fault *fault) {
        const TreeMountsSpec mounts = {
                .trees = manager->trees.trees,
                .by_options = spec->old_kernel,
                .attached_layers = spec->old_kernel,
                .images_by_loop = spec->images_by_loop,
        };
        int r = tree_mounts_new(&mounts, &manager->tree_mounts, fault);
        return r < 0 ? r : snapshot_make_choose_driver(manager, spec->driver, &manager->driver, fault);
}

static int seal_of(int64_t id, char ret[FILE_VERITY_SIZE], void *userdata) {
        const SnapshotManager *manager = userdata;
        return snapshot_store_get_seal(manager->store, id, ret);
}

int snapshot_manager_new(const SnapshotManagerSpec *spec, SnapshotManager **ret, Fault *fault) {
        _cleanup_(snapshot_manager_freep) SnapshotManager *manager = new0(SnapshotManager, 1);
        if (!manager)
                return -ENOMEM;
        manager->event = sd_event_ref(spec->event);
        manager->bytes_per_uid = spec->bytes_per_uid;
        manager->trees = TREE_STORE_NULL;

        int r = tree_store_open(spec->state, &manager->trees, fault);
        if (r >= 0)
                r = tree_store_open_handed(spec->state, &manager->trees, fault);
        if (r >= 0)
                r = open_mounts(manager, spec, fault);
        if (r >= 0)
                r = snapshot_store_open(spec->state, spec->boot_id, &manager->store, fault);
        if (r < 0)
                return r;
        image_mounts_require(manager->tree_mounts->images, seal_of, manager);
        r = mount_watch_new(&manager->mounts);
        if (r < 0)
                return fault_set_errno(fault, r, "Can't watch mounts");
        r = user_namespaces_new(&manager->users);
        if (r >= 0)
                r = snapshot_chains_new(&manager->chains);
        if (r >= 0)
                r = snapshot_ahead_new(manager, &manager->ahead);
        if (r >= 0)
                r = snapshot_commit_setup(manager);
        if (r < 0)
                return fault_set_errno(fault, r, "Can't prepare for commits");
        r = trash_collector_new(manager->event, &manager->trees, &manager->trash);
        if (r >= 0)
                r = snapshot_recovery_run(manager, fault);
        if (r < 0)
                return r;
        if (manager->recovery)
                trash_collector_start(manager->trash);
        else
                trash_collector_has_all(manager->trash);
        *ret = TAKE_PTR(manager);
        return 0;
}

static void note_end(SnapshotManager *manager) {
        int r = manager->in_step && !manager->recovery && !manager->fills && !manager->commits
                        ? snapshot_store_note_orderly_end(manager->store)
                        : 0;
        if (r < 0)
                log_warning("can't note that the end was orderly: %s", strerror(-r));
}

SnapshotManager *snapshot_manager_free(SnapshotManager *manager) {
        if (!manager)
                return NULL;
        note_end(manager);
        snapshot_recovery_free(manager->recovery);
        snapshot_commit_free_all(manager);
        snapshot_fill_free_all(manager);
        trash_collector_free(manager->trash);
        mount_watch_free(manager->mounts);
        tree_mounts_free(manager->tree_mounts);
        user_namespaces_free(manager->users);
        snapshot_ahead_free(manager->ahead);
        snapshot_chains_free(manager->chains);
        snapshot_store_free(manager->store);
        tree_store_done(&manager->trees);
        sd_event_unref(manager->event);
        return mfree(manager);
}

bool snapshot_manager_is_busy(const SnapshotManager *manager) {
        return manager->commits || manager->fills || manager->recovery ||
               trash_collector_is_busy(manager->trash);
}

bool snapshot_manager_is_committing(const SnapshotManager *manager) {
        return manager->commits;
}

/* ---- labels ---- */

int snapshot_manager_update(SnapshotManager *manager, const char *namespace, const char *key,
                            char *const *changes, bool replace, Fault *fault) {
        _cleanup_(snapshot_done) Snapshot snapshot = { 0 };
        int r = label_check(changes, NULL, fault);
        if (r >= 0)
                r = snapshot_store_get(manager->store, namespace, key, &snapshot, fault);
        return r < 0 ? r : snapshot_store_change_labels(manager->store, &snapshot, changes, replace, fault);
}

/* ---- removing ---- */

void snapshot_manager_unbind(SnapshotManager *manager, int64_t id) {
        if (manager->unbind)
                manager->unbind(id, manager->unbind_userdata);
}

int snapshot_manager_check_removable(SnapshotManager *manager, const Snapshot *snapshot, Fault *fault) {
        int r = snapshot_check_use(snapshot, SNAPSHOT_USE_REMOVE, fault);
        if (r >= 0)
                r = snapshot_hold_check(manager, snapshot, fault);
        if (r >= 0)
                r = snapshot_commit_check_idle(manager, snapshot, fault);
        return r < 0 ? r : snapshot_mount_check_unused(manager, snapshot, fault);
}

/* Its record is gone. */
static void let_go(SnapshotManager *manager, const Snapshot *snapshot) {
        snapshot_manager_unbind(manager, snapshot->id);
        mount_watch_remove(manager->mounts, snapshot->id);
        tree_mounts_release(manager->tree_mounts, snapshot->id);
        if (snapshot->kind == SNAPSHOT_COMMITTED)
                snapshot_chains_forget(manager->chains);
        /* One whose unpacking failed may have kept it, if the service was killed meanwhile. */
        if ((snapshot->size_max > 0 || snapshot->state == SNAPSHOT_FAILED) &&
            snapshot->driver != DRIVER_BTRFS)
                tree_quota_drop(manager->trees.trees, snapshot->id);
        if (snapshot->kind == SNAPSHOT_VIEW)
                return;
        int r = tree_store_discard(&manager->trees, snapshot->id, NULL);
        if (r < 0)
                log_warning("the tree of %s stays until the next start: %s", snapshot->key, strerror(-r));
        manager->in_step = manager->in_step && r >= 0;
}

/* First the record, then the tree: killed in between, the tree is without a record and goes to the trash at
 * the next start. */
int snapshot_manager_remove(SnapshotManager *manager, const char *namespace, const char *key, Fault *fault) {
        _cleanup_(snapshot_done) Snapshot snapshot = { 0 };
        int r = snapshot_store_get(manager->store, namespace, key, &snapshot, fault);
        if (r >= 0)
                r = snapshot_manager_check_removable(manager, &snapshot, fault);
        if (r >= 0)
                r = snapshot_store_remove(manager->store, &snapshot, fault);
        if (r < 0)
                return r;
        if (snapshot.kind != SNAPSHOT_VIEW)
                snapshot_store_make_room(manager->store);
        let_go(manager, &snapshot);
        trash_collector_start(manager->trash);
        return 0;
}

int snapshot_manager_remove_many(SnapshotManager *manager, const Snapshot snapshots[], size_t count,
                                 bool ret_removed[]) {
        int r = snapshot_store_remove_many(manager->store, snapshots, count, ret_removed);
        if (r < 0)
                return r;
        snapshot_store_make_room(manager->store);
        for (size_t i = 0; i < count; i++)
                if (ret_removed[i])
                        let_go(manager, &snapshots[i]);
        trash_collector_start(manager->trash);
        return 0;
}

void snapshot_manager_fail(SnapshotManager *manager, int64_t id) {
        int r = snapshot_store_set_failed(manager->store, id);
        if (r < 0)
                log_warning("can't record that an unpacking failed: %s", strerror(-r));
        int k = tree_store_discard(&manager->trees, id, NULL);
        if (k < 0)
                log_warning("a tree whose unpacking failed stays until the next start: %s", strerror(-k));
        manager->in_step = manager->in_step && r >= 0 && k >= 0;
        trash_collector_start(manager->trash);
}
