/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/snapshot-manager.h"

#include <errno.h>
#include <string.h>

#include "lib/fd.h"
#include "lib/identifier.h"
#include "lib/label.h"
#include "lib/log.h"
#include "lib/strv.h"
#include "services/snapshots/snapshot-commit.h"
#include "services/snapshots/snapshot-recovery.h"
#include "services/snapshots/snapshot-rules.h"
#include "services/snapshots/trash-collector.h"

/* ---- life ---- */

int snapshot_manager_new(const SnapshotManagerSpec *spec, SnapshotManager **ret, Fault *fault) {
        _cleanup_(snapshot_manager_freep) SnapshotManager *manager = new0(SnapshotManager, 1);
        if (!manager)
                return -ENOMEM;
        manager->event = sd_event_ref(spec->event);
        manager->driver = &overlay_driver;
        manager->trees = (TreeStore){ .trees = -EBADF, .trash = -EBADF };

        int r = tree_store_open(spec->state, &manager->trees, fault);
        if (r >= 0)
                r = manager->driver->setup(manager->trees.trees, &manager->fallback, fault);
        if (r >= 0)
                r = snapshot_store_open(spec->state, spec->boot_id, &manager->store, fault);
        if (r < 0)
                return r;
        manager->fallback = manager->fallback || spec->force_fallback;
        r = mount_watch_new(&manager->mounts);
        if (r < 0)
                return fault_set_errno(fault, r, "Can't watch mounts");
        r = snapshot_commit_setup(manager);
        if (r < 0)
                return fault_set_errno(fault, r, "Can't prepare for commits");
        r = trash_collector_new(manager->event, &manager->trees, &manager->trash);
        if (r >= 0)
                r = snapshot_recovery_run(manager, fault);
        if (r < 0)
                return r;
        trash_collector_start(manager->trash);
        *ret = TAKE_PTR(manager);
        return 0;
}

SnapshotManager *snapshot_manager_free(SnapshotManager *manager) {
        if (!manager)
                return NULL;
        snapshot_commit_free_all(manager);
        trash_collector_free(manager->trash);
        mount_watch_free(manager->mounts);
        snapshot_store_free(manager->store);
        tree_store_done(&manager->trees);
        sd_event_unref(manager->event);
        return mfree(manager);
}

bool snapshot_manager_is_busy(const SnapshotManager *manager) {
        return manager->commits || trash_collector_is_busy(manager->trash);
}

bool snapshot_manager_is_committing(const SnapshotManager *manager) {
        return manager->commits;
}

/* ---- making ---- */

static int check_limit(SnapshotManager *manager, const SnapshotRequest *request, Fault *fault) {
        uint64_t count;
        if (request->limit == 0)
                return 0;
        int r = snapshot_store_count_of_uid(manager->store, request->uid, &count);
        if (r < 0)
                return fault_set_errno(fault, r, "Can't count your snapshots");
        if (count >= request->limit)
                return fault_set(fault, -EDQUOT, "You have %llu snapshots, and may not have more",
                                 (unsigned long long) count);
        return 0;
}

static int check_request(SnapshotManager *manager, const SnapshotRequest *request, Snapshot *parent,
                         Fault *fault) {
        if (!snapshot_key_is_valid(request->key))
                return fault_set(fault, -EINVAL, "'%s' is no valid snapshot key", request->key);
        int r = label_check(request->labels, NULL, fault);
        if (r >= 0)
                r = check_limit(manager, request, fault);
        if (r < 0 || request->parent[0] == '\0')
                return r;
        r = snapshot_store_get(manager->store, request->namespace, request->parent, parent, fault);
        return r < 0 ? r : snapshot_check_use(parent, SNAPSHOT_USE_PARENT, fault);
}

typedef struct MakeTree {
        SnapshotManager *manager;
        int64_t parent_id;
} MakeTree;

static int make_tree(int64_t id, void *userdata, Fault *fault) {
        const MakeTree *make = userdata;
        SnapshotManager *manager = make->manager;
        _cleanup_close_ int like = -EBADF;
        if (make->parent_id > 0) {
                like = tree_store_get(&manager->trees, make->parent_id);
                if (like < 0)
                        return fault_set_errno(fault, like, "The tree of the parent is missing");
        }
        _cleanup_close_ int tree = tree_store_make(&manager->trees, id, fault);
        return tree < 0 ? tree : manager->driver->make(tree, like, fault);
}

static int add_snapshot(SnapshotManager *manager, const SnapshotRequest *request, SnapshotKind kind,
                        Fault *fault) {
        _cleanup_(snapshot_done) Snapshot parent = { 0 };
        _cleanup_strv_ char **labels = NULL;
        int r = check_request(manager, request, &parent, fault);
        if (r >= 0)
                r = label_change(&labels, request->labels, true, fault);
        if (r < 0)
                return r;
        Snapshot snapshot = {
                .namespace = (char *) request->namespace,
                .key = (char *) request->key,
                .parent_id = parent.id,
                .kind = kind,
                .uid = request->uid,
                .labels = labels,
        };
        MakeTree make = { .manager = manager, .parent_id = parent.id };
        r = snapshot_store_add(manager->store, &snapshot, kind == SNAPSHOT_ACTIVE ? make_tree : NULL, &make,
                               fault);
        if (r < 0 && snapshot.id > 0 && kind == SNAPSHOT_ACTIVE) {
                (void) tree_store_discard(&manager->trees, snapshot.id, NULL);
                trash_collector_start(manager->trash);
        }
        return r;
}

int snapshot_manager_prepare(SnapshotManager *manager, const SnapshotRequest *request, Fault *fault) {
        return add_snapshot(manager, request, SNAPSHOT_ACTIVE, fault);
}

int snapshot_manager_view(SnapshotManager *manager, const SnapshotRequest *request, Fault *fault) {
        if (request->parent[0] == '\0')
                return fault_set(fault, -EINVAL, "A view needs a parent");
        return add_snapshot(manager, request, SNAPSHOT_VIEW, fault);
}

int snapshot_manager_update(SnapshotManager *manager, const char *namespace, const char *key,
                            char *const *changes, bool replace, Fault *fault) {
        _cleanup_(snapshot_done) Snapshot snapshot = { 0 };
        int r = label_check(changes, NULL, fault);
        if (r >= 0)
                r = snapshot_store_get(manager->store, namespace, key, &snapshot, fault);
        return r < 0 ? r : snapshot_store_change_labels(manager->store, &snapshot, changes, replace, fault);
}

/* ---- use ---- */

int snapshot_manager_check_unused(SnapshotManager *manager, const Snapshot *snapshot, Fault *fault) {
        if (snapshot->kind != SNAPSHOT_ACTIVE || snapshot->mounted == MOUNTED_NEVER)
                return 0;
        MountLife life = mount_watch_get(manager->mounts, snapshot->id);
        if (life == MOUNT_GONE)
                return 0;
        if (life == MOUNT_UNKNOWN) {
                int r = manager->driver->is_in_use(manager->trees.trees, snapshot->id);
                if (r < 0)
                        return fault_set_errno(fault, r, "Can't find out whether '%s' is in use",
                                               snapshot->key);
                if (r == 0)
                        return 0;
        }
        return fault_set(fault, -EBUSY, "The snapshot '%s' is in use: it is mounted", snapshot->key);
}

/* Recorded before there is a mount: should the daemon be killed in between, the snapshot counts as mounted,
 * and the kernel is asked. */
static int note_writable_mount(SnapshotManager *manager, const Snapshot *snapshot, bool is_volatile,
                               Fault *fault) {
        int r = 0;
        if (snapshot->mounted == MOUNTED_VOLATILE)
                r = manager->driver->forgive_volatile(manager->trees.trees, snapshot->id);
        if (r < 0)
                return fault_set_errno(fault, r, "Can't mount the volatile snapshot '%s' again",
                                       snapshot->key);
        is_volatile = is_volatile || snapshot->mounted == MOUNTED_VOLATILE;
        r = snapshot_store_set_mounted(manager->store, snapshot->id,
                                       is_volatile ? MOUNTED_VOLATILE : MOUNTED_WRITABLE);
        return r < 0 ? fault_set_errno(fault, r, "Can't record the mount of '%s'", snapshot->key) : 0;
}

static int mount_snapshot(SnapshotManager *manager, const Snapshot *snapshot,
                          const SnapshotMountOptions *options, Fault *fault) {
        _cleanup_free_ int64_t *chain = NULL;
        size_t count = 0;
        int r = snapshot_store_chain(manager->store, snapshot->id, &chain, &count);
        if (r < 0 || count == 0)
                return fault_set_errno(fault, r < 0 ? r : -EIO, "Can't find what '%s' is built on",
                                       snapshot->key);

        bool active = snapshot->kind == SNAPSHOT_ACTIVE;
        /* The snapshot itself is a lower layer when it is looked at only. Without a parent it is an overlay,
         * too: whether one of these is still mounted can be found out. */
        bool upper = active && !options->read_only;
        bool is_volatile = upper && options->is_volatile;
        const SnapshotMount mount = {
                .layers = active && !upper ? chain : chain + 1,
                .layer_count = active && !upper ? count : count - 1,
                .upper = upper ? snapshot->id : 0,
                .read_only = options->read_only,
                .no_setuid = options->no_setuid,
                .is_volatile = is_volatile,
                .fallback = manager->fallback,
        };
        if (upper) {
                r = note_writable_mount(manager, snapshot, is_volatile, fault);
                if (r < 0)
                        return r;
        }
        _cleanup_close_ int fd = manager->driver->mount(manager->trees.trees, &mount, fault);
        if (fd < 0)
                return fd;
        if (upper) {
                r = mount_watch_add(manager->mounts, snapshot->id, fd);
                if (r < 0)
                        log_debug("can't watch the mount of %s: %s", snapshot->key, strerror(-r));
        }
        return TAKE_FD(fd);
}

int snapshot_manager_mount(SnapshotManager *manager, const char *namespace, const char *key,
                           const SnapshotMountOptions *options, Fault *fault) {
        _cleanup_(snapshot_done) Snapshot snapshot = { 0 };
        int r = snapshot_store_get(manager->store, namespace, key, &snapshot, fault);
        if (r >= 0)
                r = snapshot_check_use(&snapshot, SNAPSHOT_USE_MOUNT, fault);
        if (r >= 0)
                r = snapshot_commit_check_idle(manager, &snapshot, fault);
        if (r >= 0)
                r = snapshot_manager_check_unused(manager, &snapshot, fault);
        return r < 0 ? r : mount_snapshot(manager, &snapshot, options, fault);
}

/* ---- removing ---- */

/* First the record, then the tree: killed in between, the tree is without a record and goes to the trash at
 * the next start. */
int snapshot_manager_remove(SnapshotManager *manager, const char *namespace, const char *key, Fault *fault) {
        _cleanup_(snapshot_done) Snapshot snapshot = { 0 };
        int r = snapshot_store_get(manager->store, namespace, key, &snapshot, fault);
        if (r >= 0)
                r = snapshot_check_use(&snapshot, SNAPSHOT_USE_REMOVE, fault);
        if (r >= 0)
                r = snapshot_commit_check_idle(manager, &snapshot, fault);
        if (r >= 0)
                r = snapshot_manager_check_unused(manager, &snapshot, fault);
        if (r >= 0)
                r = snapshot_store_remove(manager->store, &snapshot, fault);
        if (r < 0)
                return r;
        mount_watch_remove(manager->mounts, snapshot.id);
        if (snapshot.kind == SNAPSHOT_VIEW)
                return 0;
        r = tree_store_discard(&manager->trees, snapshot.id, NULL);
        if (r < 0)
                log_warning("the tree of %s stays until the next start: %s", key, strerror(-r));
        trash_collector_start(manager->trash);
        return 0;
}

void snapshot_manager_fail(SnapshotManager *manager, int64_t id) {
        int r = snapshot_store_set_state(manager->store, id, SNAPSHOT_FAILED, NULL);
        if (r >= 0)
                r = tree_store_discard(&manager->trees, id, NULL);
        if (r < 0)
                log_warning("a tree whose unpacking failed stays until the next start: %s", strerror(-r));
        trash_collector_start(manager->trash);
}
