/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What becomes of a record: labels, commits, damage. */

#include <errno.h>
#include <stdio.h>

#include "lib/label.h"
#include "lib/strv.h"
#include "services/snapshots/snapshot-store-private.h"

static int write_measure(SnapshotStore *store, int64_t id, const SnapshotMeasure *measure) {
        return database_execute(store->database,
                                "UPDATE snapshots SET size = ?, inodes = ?, manifest = nullif(?, '')"
                                " WHERE id = ?",
                                "iisi", (int64_t) measure->size, (int64_t) measure->inodes,
                                measure->manifest, id);
}

/* Within a transaction. */
static int change_labels(SnapshotStore *store, const Snapshot *snapshot, char *const *changes, bool replace,
                         Fault *fault) {
        _cleanup_strv_ char **labels = NULL;
        _cleanup_free_ char *text = NULL;
        size_t size;
        int r = strv_copy((const char *const *) snapshot->labels, &labels);
        if (r >= 0)
                r = label_change(&labels, changes, replace, fault);
        if (r >= 0)
                r = snapshot_pack_labels(labels, &text, &size);
        if (r >= 0)
                r = database_execute(store->database,
                                     "UPDATE snapshots SET labels = ?, label_bytes = ?, updated = ?"
                                     " WHERE id = ?",
                                     "biii", text, size, (int64_t) snapshot_labels_bytes(labels),
                                     (int64_t) snapshot_store_now(), snapshot->id);
        /* What only makes them less is right in any case. */
        if (r >= 0 && snapshot_labels_bytes(labels) > snapshot_labels_bytes(snapshot->labels))
                r = snapshot_labels_check(store, snapshot->uid, fault);
        if (r < 0)
                return fault_set_errno(fault, r, "Can't record the labels of '%s'", snapshot->key);
        snapshot_store_note_labels(store, snapshot->labels, labels);
        return 0;
}

int snapshot_store_change_labels(SnapshotStore *store, const Snapshot *snapshot, char *const *changes,
                                 bool replace, Fault *fault) {
        int r = snapshot_store_begin(store, snapshot->kind == SNAPSHOT_COMMITTED);
        if (r < 0)
                return fault_set_errno(fault, r, "Can't record the labels of '%s'", snapshot->key);
        _cleanup_(database_rollbackp) Database *transaction = store->database;
        r = change_labels(store, snapshot, changes, replace, fault);
        if (r < 0)
                return r;
        r = database_commit(transaction);
        return r < 0 ? fault_set_errno(fault, r, "Can't record the labels of '%s'", snapshot->key) : 0;
}

static int commit_labels(SnapshotStore *store, const SnapshotStoreCommit *commit, Fault *fault) {
        _cleanup_(snapshot_done) Snapshot snapshot = { 0 };
        if (!commit->label_changes || !*commit->label_changes)
                return 0;
        int r = snapshot_store_get_by_id(store, commit->id, &snapshot);
        return r < 0 ? r : change_labels(store, &snapshot, commit->label_changes, false, fault);
}

/* Within a transaction. */
static int commit_in_transaction(SnapshotStore *store, const SnapshotStoreCommit *commit, Fault *fault) {
        int r = database_execute(
                store->database,
                "UPDATE snapshots SET key = ?, kind = ?, parent = nullif(?, 0), mounted = 0,"
                " bound = NULL, verity = ?, updated = ? WHERE id = ?",
                "siisii", commit->name, (int64_t) SNAPSHOT_COMMITTED, commit->parent_id, commit->seal,
                (int64_t) snapshot_store_now(), commit->id);
        if (r == -EEXIST)
                return fault_set(fault, -EEXIST, "There is a snapshot '%s' already", commit->name);
        if (r == -EBUSY)
                return fault_set(fault, -ENOENT, "The parent of '%s' was removed meanwhile", commit->name);
        snapshot_store_note_use(store);
        if (r >= 0)
                r = commit_labels(store, commit, fault);
        return r >= 0 && commit->measure ? write_measure(store, commit->id, commit->measure) : r;
}

int snapshot_store_commit(SnapshotStore *store, const SnapshotStoreCommit *commit, Fault *fault) {
        int r = snapshot_store_begin(store, true);
        if (r < 0)
                return fault_set_errno(fault, r, "Can't record the snapshot '%s'", commit->name);
        _cleanup_(database_rollbackp) Database *transaction = store->database;
        r = commit_in_transaction(store, commit, fault);
        if (r >= 0)
                r = database_commit(transaction);
        return r < 0 ? fault_set_errno(fault, r, "Can't record the snapshot '%s'", commit->name) : 0;
}

/* Within a transaction. */
static int take_place(SnapshotStore *store, int64_t damaged, const SnapshotStoreCommit *commit) {
        int r = database_execute(store->database,
                                 "UPDATE snapshots SET labels = coalesce(labels,"
                                 " (SELECT labels FROM snapshots WHERE id = ?1)), label_bytes ="
                                 " iif(labels IS NULL, (SELECT label_bytes FROM snapshots WHERE id = ?1),"
                                 " label_bytes) WHERE id = ?2",
                                 "ii", damaged, commit->id);
        if (r >= 0)
                r = database_execute(store->database, "UPDATE snapshots SET parent = ? WHERE parent = ?",
                                     "ii", commit->id, damaged);
        if (r >= 0)
                r = database_execute(store->database, "DELETE FROM snapshots WHERE id = ?", "i", damaged);
        return r;
}

int snapshot_store_replace(SnapshotStore *store, int64_t damaged, const SnapshotStoreCommit *commit,
                           Fault *fault) {
        int r = snapshot_store_begin(store, true);
        if (r < 0)
                return fault_set_errno(fault, r, "Can't record the snapshot '%s'", commit->name);
        _cleanup_(database_rollbackp) Database *transaction = store->database;
        r = take_place(store, damaged, commit);
        if (r >= 0)
                r = commit_in_transaction(store, commit, fault);
        if (r >= 0)
                r = database_commit(transaction);
        return r < 0 ? fault_set_errno(fault, r, "Can't record the snapshot '%s'", commit->name) : 0;
}

int snapshot_store_get_seal(SnapshotStore *store, int64_t id, char ret[FILE_VERITY_SIZE]) {
        DatabaseRows rows;
        int r = database_query(store->database, &rows, "SELECT verity FROM snapshots WHERE id = ?", "i", id);
        if (r < 0)
                return r;
        r = database_rows_next(&rows);
        const char *seal = r > 0 ? database_rows_string(&rows, 0) : NULL;
        if (seal && (size_t) snprintf(ret, FILE_VERITY_SIZE, "%s", seal) >= FILE_VERITY_SIZE)
                r = -EUCLEAN;
        database_rows_done(&rows);
        return r < 0 ? r : r == 0 ? -ENOENT : seal != NULL;
}

int snapshot_store_set_damage(SnapshotStore *store, const Snapshot *snapshot, const char *damage) {
        SnapshotState whole = snapshot->diff_id ? SNAPSHOT_UNPACKED : SNAPSHOT_PREPARED;
        int r = database_set_durable(store->database, true);
        return r < 0 ? r
                     : database_execute(store->database,
                                        "UPDATE snapshots SET state = ?, damage = ?, updated = ?"
                                        " WHERE id = ? AND kind = ?",
                                        "isiii", (int64_t) (damage ? SNAPSHOT_DAMAGED : whole), damage,
                                        (int64_t) snapshot_store_now(), snapshot->id,
                                        (int64_t) SNAPSHOT_COMMITTED);
}

int snapshot_store_set_measure(SnapshotStore *store, int64_t id, const SnapshotMeasure *measure) {
        int r = database_set_durable(store->database, false);
        return r < 0 ? r : write_measure(store, id, measure);
}
