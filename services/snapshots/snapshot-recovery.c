/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/snapshot-recovery.h"

#include <errno.h>

#include "lib/fd.h"
#include "lib/log.h"

typedef struct IdList {
        int64_t *ids;
        size_t count;
} IdList;

static int id_list_add(IdList *list, int64_t id) {
        int64_t *larger = reallocarray(list->ids, list->count + 1, sizeof(*larger));
        if (!larger)
                return -ENOMEM;
        list->ids = larger;
        list->ids[list->count++] = id;
        return 0;
}

static void id_list_done(IdList *list) {
        free(list->ids);
}

typedef struct Recovery {
        SnapshotManager *manager;
        IdList found; /* gathered first, acted on afterwards: neither a directory nor a query is changed
                         while it is read */
} Recovery;

static int visit_tree(int64_t id, void *userdata) {
        Recovery *recovery = userdata;
        Snapshot snapshot = { 0 };
        int r = snapshot_store_get_by_id(recovery->manager->store, id, &snapshot);
        bool wanted = r >= 0 && snapshot.kind != SNAPSHOT_VIEW && snapshot.state != SNAPSHOT_FAILED;
        snapshot_done(&snapshot);
        if (r < 0 && r != -ENOENT)
                return r;
        return wanted ? 0 : id_list_add(&recovery->found, id);
}

static int visit_record(const Snapshot *snapshot, void *userdata) {
        Recovery *recovery = userdata;
        _cleanup_close_ int fd = tree_store_get(&recovery->manager->trees, snapshot->id);
        if (fd != -ENOENT)
                return 0;
        if (snapshot->kind == SNAPSHOT_COMMITTED) {
                log_error("the tree of the committed snapshot %s in %s is missing", snapshot->key,
                          snapshot->namespace);
                return 0;
        }
        return id_list_add(&recovery->found, snapshot->id);
}

static int discard_trees_without_record(SnapshotManager *manager) {
        Recovery recovery = { .manager = manager };
        _cleanup_(id_list_done) IdList list = { 0 };
        int r = tree_store_visit(&manager->trees, visit_tree, &recovery);
        list = recovery.found;
        for (size_t i = 0; r >= 0 && i < list.count; i++)
                r = tree_store_discard(&manager->trees, list.ids[i], NULL);
        return r;
}

static int forget_records_without_tree(SnapshotManager *manager) {
        Recovery recovery = { .manager = manager };
        _cleanup_(id_list_done) IdList list = { 0 };
        int r = snapshot_store_visit_trees(manager->store, visit_record, &recovery);
        list = recovery.found;
        for (size_t i = 0; r >= 0 && i < list.count; i++)
                r = snapshot_store_forget(manager->store, list.ids[i]);
        return r;
}

int snapshot_recovery_run(SnapshotManager *manager, Fault *fault) {
        int r = discard_trees_without_record(manager);
        if (r >= 0)
                r = forget_records_without_tree(manager);
        return r < 0 ? fault_set_errno(fault, r, "Can't bring records and trees in step") : 0;
}
