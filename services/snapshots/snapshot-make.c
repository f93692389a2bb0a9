/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/snapshot-make.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "lib/fd.h"
#include "lib/identifier.h"
#include "lib/label.h"
#include "lib/limits.h"
#include "lib/log.h"
#include "lib/path.h"
#include "lib/strv.h"
#include "services/snapshots/snapshot-ahead.h"
#include "services/snapshots/snapshot-fill.h"
#include "services/snapshots/snapshot-repair.h"
#include "services/snapshots/snapshot-rules.h"
#include "services/snapshots/trash-collector.h"
#include "services/snapshots/tree-quota.h"

/* ---- drivers ---- */

/* overlayfs wherever it can write: it copies nothing, mounts in no time, and unpacks layers in any order. */
static const SnapshotDriverKind preferred[] = { DRIVER_OVERLAYFS, DRIVER_BTRFS, DRIVER_COPY };

int snapshot_make_choose_driver(const SnapshotManager *manager, const char *name, SnapshotDriverKind *ret,
                                Fault *fault) {
        if (name && name[0] != '\0') {
                SnapshotDriverKind kind = snapshot_driver_kind_from_string(name);
                if (kind < 0)
                        return fault_set(fault, -EINVAL, "There is no driver '%s'", name);
                int r = snapshot_driver_get(kind)->probe(manager->trees.trees, fault);
                if (r >= 0)
                        *ret = kind;
                return r;
        }
        for (size_t i = 0; i < ELEMENTS_OF(preferred); i++) {
                _cleanup_(fault_done) Fault reason = FAULT_NULL;
                int r = snapshot_driver_get(preferred[i])->probe(manager->trees.trees, &reason);
                if (r >= 0) {
                        *ret = preferred[i];
                        return 0;
                }
                /* Trees are not kept another way because the disk fails at the moment. */
                if (r != -EOPNOTSUPP)
                        return fault_set(fault, r, "%s", fault_text(&reason, r));
                log_info("%s", fault_text(&reason, r));
        }
        return fault_set(fault, -EOPNOTSUPP, "The file system can't hold snapshots");
}

static int choose_driver(const SnapshotManager *manager, const SnapshotRequest *request,
                         SnapshotDriverKind *ret, Fault *fault) {
        if (request->driver && request->driver[0] != '\0')
                return snapshot_make_choose_driver(manager, request->driver, ret, fault);
        *ret = manager->driver;
        return 0;
}

/* ---- parents ---- */

int snapshot_make_open_parent(SnapshotManager *manager, int64_t id, Fault *fault) {
        _cleanup_free_ SnapshotLayer *chain = NULL;
        size_t count = 0;
        int r = snapshot_store_chain(manager->store, id, &chain, &count);
        if (r < 0 || count == 0)
                return fault_set_errno(fault, r < 0 ? r : -EIO, "Can't find what the parent is built on");
        if (!snapshot_driver_get(chain[0].driver)->whole)
                return tree_mounts_open_merged(manager->tree_mounts, chain, count, fault);
        char path[TREE_PATH_SIZE];
        int fd = path_open(manager->trees.handed_trees, tree_path(chain[0].id, "fs", path),
                           O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
        return fd < 0 ? fault_set_errno(fault, fd, "Can't open the tree of the parent") : fd;
}

/* ---- what is asked for ---- */

static int check_limit(SnapshotManager *manager, const SnapshotRequest *request, Fault *fault) {
        uint64_t count, bytes;
        if (request->limit == 0)
                return 0;
        int r = snapshot_store_count_of_uid(manager->store, request->uid, &count, &bytes);
        if (r < 0)
                return fault_set_errno(fault, r, "Can't count your snapshots");
        if (count >= request->limit)
                return fault_set(fault, -EDQUOT, "You have %llu snapshots, and may not have more",
                                 (unsigned long long) count);
        if (bytes >= manager->bytes_per_uid)
                return fault_set(fault, -EDQUOT, "Your snapshots take %llu bytes, and may not take more",
                                 (unsigned long long) bytes);
        return 0;
}

static int check_request(SnapshotManager *manager, const SnapshotRequest *request, Snapshot *parent,
                         Fault *fault) {
        if (!snapshot_key_is_valid(request->key))
                return fault_set(fault, -EINVAL, "'%s' is no valid snapshot key", request->key);
        if (request->size_max > INT64_MAX)
                return fault_set(fault, -EINVAL, "option 'size-max': is too large");
        int r = label_check(request->labels, NULL, fault);
        if (r >= 0)
                r = check_limit(manager, request, fault);
        if (r < 0 || request->parent[0] == '\0')
                return r;
        r = snapshot_store_get(manager->store, request->namespace, request->parent, parent, fault);
        if (r >= 0)
                r = snapshot_check_use(parent, SNAPSHOT_USE_PARENT, fault);
        return r < 0 ? r : snapshot_check_whole(manager->store, parent, fault);
}

/* ---- making ---- */

typedef struct MakeTree {
        SnapshotManager *manager;
        const Snapshot *snapshot;
        SnapshotLayer parent; /* id 0: none */
        bool to_fill;
} MakeTree;

static int make_tree(int64_t id, void *userdata, Fault *fault) {
        MakeTree *make = userdata;
        SnapshotManager *manager = make->manager;
        _cleanup_close_ int parent = -EBADF;
        if (make->parent.id > 0) {
                parent = tree_mounts_open_root(manager->tree_mounts, make->parent, fault);
                if (parent < 0)
                        return parent;
        }
        _cleanup_close_ int tree = tree_store_make(&manager->trees, id, fault);
        int r = tree;
        /* What is made in it inherits the project, so that comes first. */
        if (r >= 0 && make->snapshot->size_max > 0 && make->snapshot->driver != DRIVER_BTRFS)
                r = tree_quota_set(tree, id, make->snapshot->size_max, fault);
        if (r >= 0)
                r = snapshot_driver_get(make->snapshot->driver)->make(tree, parent, fault);
        make->to_fill = r > 0;
        return r;
}

/* Whether a worker is needed shows when the tree is made, but must be in the record from the beginning. */
static int add_record(SnapshotManager *manager, Snapshot *snapshot, MakeTree *make, Fault *fault) {
        bool active = snapshot->kind == SNAPSHOT_ACTIVE;
        if (active && snapshot_driver_get(snapshot->driver)->fill)
                snapshot->state = SNAPSHOT_FILLING;
        int r = snapshot_store_add(manager->store, snapshot, active ? make_tree : NULL, make, fault);
        if (r < 0 && snapshot->id > 0 && active) {
                if (tree_store_discard(&manager->trees, snapshot->id, NULL) < 0)
                        manager->in_step = false;
                trash_collector_start(manager->trash);
        }
        return r;
}

static int start_fill(SnapshotManager *manager, const SnapshotRequest *request, const Snapshot *snapshot,
                      bool to_fill, Fault *fault) {
        if (snapshot->state != SNAPSHOT_FILLING)
                return 0;
        if (!to_fill) {
                int r = snapshot_store_set_state(manager->store, snapshot->id, SNAPSHOT_PREPARED, NULL);
                if (r < 0)
                        snapshot_fill_forget(manager, snapshot->id);
                return r < 0 ? fault_set_errno(fault, r, "Can't record that the snapshot is prepared") : 0;
        }
        const SnapshotFillSpec spec = {
                .snapshot = snapshot,
                .limited = request->limit > 0,
                .on_end = request->on_end,
                .userdata = request->userdata,
        };
        int r = snapshot_fill_start(manager, &spec, fault);
        return r < 0 ? r : 1;
}

static int add_snapshot(SnapshotManager *manager, const SnapshotRequest *request, SnapshotKind kind,
                        Fault *fault) {
        _cleanup_(snapshot_done) Snapshot parent = { 0 };
        _cleanup_strv_ char **labels = NULL;
        SnapshotDriverKind driver = manager->driver;
        int r = check_request(manager, request, &parent, fault);
        if (r >= 0 && kind == SNAPSHOT_ACTIVE)
                r = choose_driver(manager, request, &driver, fault);
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
                .driver = kind == SNAPSHOT_VIEW ? parent.driver : driver,
                .size_max = request->size_max,
        };
        MakeTree make = {
                .manager = manager,
                .snapshot = &snapshot,
                .parent = { .id = parent.id, .driver = parent.driver },
        };
        r = add_record(manager, &snapshot, &make, fault);
        if (r >= 0)
                snapshot_ahead_expect(manager->ahead, &snapshot);
        return r < 0 ? r : start_fill(manager, request, &snapshot, make.to_fill, fault);
}

int snapshot_make_active(SnapshotManager *manager, const SnapshotRequest *request, Fault *fault) {
        return add_snapshot(manager, request, SNAPSHOT_ACTIVE, fault);
}

int snapshot_make_view(SnapshotManager *manager, const SnapshotRequest *request, Fault *fault) {
        if (request->parent[0] == '\0')
                return fault_set(fault, -EINVAL, "A view needs a parent");
        return add_snapshot(manager, request, SNAPSHOT_VIEW, fault);
}
