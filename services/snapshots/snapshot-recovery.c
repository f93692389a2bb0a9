/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/snapshot-recovery.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "lib/log.h"
#include "services/snapshots/trash-collector.h"
#include "services/snapshots/tree-stage.h"

/* Numbers, gathered first and acted on afterwards: neither a directory nor a query is changed while it is
 * read. */
typedef struct IdList {
        int64_t *ids;
        size_t count, allocated;
} IdList;

static int id_list_add(IdList *list, int64_t id) {
        if (list->count == list->allocated) {
                size_t wanted = list->allocated > 0 ? list->allocated * 2 : 64;
                int64_t *larger = reallocarray(list->ids, wanted, sizeof(*larger));
                if (!larger)
                        return -ENOMEM;
                list->ids = larger;
                list->allocated = wanted;
        }
        list->ids[list->count++] = id;
        return 0;
}

static int compare_ids(const void *a, const void *b) {
        int64_t x = *(const int64_t *) a, y = *(const int64_t *) b;
        return (x > y) - (x < y);
}

/* Trees that are looked at in one turn of the loop: some tenths of a millisecond. */
#define LATER_AT_ONCE 64

struct SnapshotRecovery {
        SnapshotManager *manager; /* weak */
        IdList trees;
        size_t next;
        sd_event_source *source;
};

/* What is asked for each record; id first, as in a list of numbers. */
typedef struct RecordNumber {
        int64_t id;
        SnapshotKind kind;
        bool has_tree;
} RecordNumber;

/* Both in the order of numbers, side by side. */
typedef struct Recovery {
        const SnapshotManager *manager;
        RecordNumber *records;
        size_t record_count, records_allocated;
        IdList trees;
        size_t next;
        IdList without_record; /* trees */
        IdList without_tree;   /* records */
        IdList staged;         /* both, with a commit that was begun */
        IdList later;          /* both, committed: there may be something to be thrown away */
} Recovery;

static void recovery_done(Recovery *recovery) {
        free(recovery->records);
        free(recovery->trees.ids);
        free(recovery->without_record.ids);
        free(recovery->without_tree.ids);
        free(recovery->staged.ids);
        free(recovery->later.ids);
}

static int visit_tree(int64_t id, void *userdata) {
        return id_list_add(userdata, id);
}

static int visit_number(int64_t id, SnapshotKind kind, bool has_tree, void *userdata) {
        Recovery *recovery = userdata;
        if (recovery->record_count == recovery->records_allocated) {
                size_t wanted = recovery->records_allocated > 0 ? recovery->records_allocated * 2 : 64;
                RecordNumber *larger = reallocarray(recovery->records, wanted, sizeof(*larger));
                if (!larger)
                        return -ENOMEM;
                recovery->records = larger;
                recovery->records_allocated = wanted;
        }
        recovery->records[recovery->record_count++] = (RecordNumber){ id, kind, has_tree };
        return 0;
}

static int compare_record(Recovery *recovery, const RecordNumber *record) {
        const IdList *trees = &recovery->trees;
        int64_t id = record->id;
        for (; recovery->next < trees->count && trees->ids[recovery->next] < id; recovery->next++) {
                int r = id_list_add(&recovery->without_record, trees->ids[recovery->next]);
                if (r < 0)
                        return r;
        }
        bool found = recovery->next < trees->count && trees->ids[recovery->next] == id;
        if (found && record->has_tree) {
                recovery->next++;
                if (record->kind == SNAPSHOT_COMMITTED)
                        return id_list_add(&recovery->later, id);
                return tree_stage_is_begun(recovery->manager->trees.trees, id)
                               ? id_list_add(&recovery->staged, id)
                               : 0;
        }
        /* Found: as one without a record. */
        return record->has_tree ? id_list_add(&recovery->without_tree, id) : 0;
}

static int compare(SnapshotManager *manager, Recovery *recovery) {
        int r = tree_store_visit(&manager->trees, visit_tree, &recovery->trees);
        if (r >= 0)
                r = snapshot_store_visit_numbers(manager->store, visit_number, recovery);
        if (r < 0)
                return r;
        if (recovery->trees.count > 1)
                qsort(recovery->trees.ids, recovery->trees.count, sizeof(int64_t), compare_ids);
        if (recovery->record_count > 1)
                qsort(recovery->records, recovery->record_count, sizeof(RecordNumber), compare_ids);
        for (size_t i = 0; r >= 0 && i < recovery->record_count; i++)
                r = compare_record(recovery, &recovery->records[i]);
        for (; r >= 0 && recovery->next < recovery->trees.count; recovery->next++)
                r = id_list_add(&recovery->without_record, recovery->trees.ids[recovery->next]);
        return r;
}

static int forget_record(SnapshotManager *manager, int64_t id) {
        _cleanup_(snapshot_done) Snapshot snapshot = { 0 };
        int r = snapshot_store_get_by_id(manager->store, id, &snapshot);
        if (r < 0)
                return r;
        if (snapshot.kind != SNAPSHOT_COMMITTED)
                return snapshot_store_forget(manager->store, id);
        log_error("the tree of the committed snapshot %s in %s is missing", snapshot.key,
                  snapshot.namespace);
        return snapshot.state == SNAPSHOT_DAMAGED
                       ? 0
                       : snapshot_store_set_damage(manager->store, &snapshot, "The whole tree is missing");
}

/* A commit counts when it is recorded. One tree that can't be settled does not keep all others from being
 * used: it is tried again when it is committed, and at the next start. */
static void settle(SnapshotManager *manager, int64_t id) {
        _cleanup_(snapshot_done) Snapshot snapshot = { 0 };
        int r = snapshot_store_get_by_id(manager->store, id, &snapshot);
        if (r >= 0)
                r = tree_stage_settle_by_id(manager->trees.trees, manager->trees.trash, id,
                                            snapshot.kind == SNAPSHOT_COMMITTED);
        if (r >= 0)
                return;
        manager->in_step = false;
        log_error("can't put the tree %" PRIi64 " in order after a commit that was not ended: %s", id,
                  strerror(-r));
}

/* ---- beside the work ---- */

SnapshotRecovery *snapshot_recovery_free(SnapshotRecovery *recovery) {
        if (!recovery)
                return NULL;
        sd_event_source_disable_unref(recovery->source);
        free(recovery->trees.ids);
        return mfree(recovery);
}

/* Meanwhile it may have been removed, and its number given to another one, which has its own commit. */
static void settle_if_committed(SnapshotManager *manager, int64_t id) {
        _cleanup_(snapshot_done) Snapshot snapshot = { 0 };
        if (!tree_stage_is_begun(manager->trees.trees, id))
                return;
        int r = snapshot_store_get_by_id(manager->store, id, &snapshot);
        if (r < 0 && r != -ENOENT)
                manager->in_step = false;
        if (r >= 0 && snapshot.kind == SNAPSHOT_COMMITTED)
                settle(manager, id);
}

static int on_turn(sd_event_source *source, void *userdata) {
        SnapshotRecovery *recovery = userdata;
        SnapshotManager *manager = recovery->manager;
        size_t end = MIN_OF(recovery->next + LATER_AT_ONCE, recovery->trees.count);
        while (recovery->next < end)
                settle_if_committed(manager, recovery->trees.ids[recovery->next++]);
        if (end < recovery->trees.count)
                return 0;
        manager->recovery = snapshot_recovery_free(recovery);
        trash_collector_has_all(manager->trash);
        return 0;
}

static int look_later(SnapshotManager *manager, IdList *trees) {
        if (trees->count == 0)
                return 0;
        SnapshotRecovery *recovery = new0(SnapshotRecovery, 1);
        if (!recovery)
                return -ENOMEM;
        recovery->manager = manager;
        int r = sd_event_add_defer(manager->event, &recovery->source, on_turn, recovery);
        if (r >= 0)
                r = sd_event_source_set_priority(recovery->source, SD_EVENT_PRIORITY_IDLE);
        if (r >= 0)
                r = sd_event_source_set_enabled(recovery->source, SD_EVENT_ON);
        if (r < 0) {
                snapshot_recovery_free(recovery);
                return r;
        }
        recovery->trees = *trees;
        *trees = (IdList){ 0 };
        manager->recovery = recovery;
        return 0;
}

/* ---- all of it ---- */

static int put_in_step(SnapshotManager *manager) {
        _cleanup_(recovery_done) Recovery recovery = { .manager = manager };
        int r = compare(manager, &recovery);
        for (size_t i = 0; r >= 0 && i < recovery.without_record.count; i++)
                r = tree_store_discard(&manager->trees, recovery.without_record.ids[i], NULL);
        for (size_t i = 0; r >= 0 && i < recovery.without_tree.count; i++)
                r = forget_record(manager, recovery.without_tree.ids[i]);
        for (size_t i = 0; r >= 0 && i < recovery.staged.count; i++)
                settle(manager, recovery.staged.ids[i]);
        return r < 0 ? r : look_later(manager, &recovery.later);
}

int snapshot_recovery_run(SnapshotManager *manager, Fault *fault) {
        SnapshotStoreStart start = snapshot_store_start(manager->store);
        int r = start == SNAPSHOT_STORE_AFTER_BOOT ? tree_store_discard_aside(&manager->trees) : 0;
        manager->in_step = r >= 0;
        if (r >= 0 && start != SNAPSHOT_STORE_AFTER_ORDERLY_END)
                r = put_in_step(manager);
        manager->in_step = manager->in_step && r >= 0;
        return r < 0 ? fault_set_errno(fault, r, "Can't bring records and trees in step") : 0;
}
