/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/snapshot-store.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/label.h"
#include "lib/strv.h"
#include "services/snapshots/snapshot-store-private.h"

/* Children protect their parents by the foreign key. Numbers are never given twice: they name trees. */
static const char *const migrations[] = {
        "CREATE TABLE snapshots ("
        " id INTEGER PRIMARY KEY AUTOINCREMENT,"
        " namespace TEXT NOT NULL,"
        " key TEXT NOT NULL,"
        " kind INTEGER NOT NULL,"
        " state INTEGER NOT NULL,"
        " mounted INTEGER NOT NULL DEFAULT 0,"
        " parent INTEGER REFERENCES snapshots (id),"
        " diff_id TEXT,"
        " created INTEGER NOT NULL,"
        " uid INTEGER NOT NULL,"
        " UNIQUE (namespace, key));"
        "CREATE INDEX snapshots_parent ON snapshots (parent);"
        "CREATE INDEX snapshots_uid ON snapshots (uid);"
        "CREATE TABLE boot (one INTEGER PRIMARY KEY CHECK (one = 1), id TEXT NOT NULL);",

        /* labels: each followed by a NUL. */
        "ALTER TABLE snapshots ADD COLUMN updated INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE snapshots ADD COLUMN labels BLOB;"
        "ALTER TABLE snapshots ADD COLUMN damage TEXT;"
        "ALTER TABLE snapshots ADD COLUMN size INTEGER;"
        "ALTER TABLE snapshots ADD COLUMN inodes INTEGER;"
        "ALTER TABLE snapshots ADD COLUMN manifest TEXT;"
        "UPDATE snapshots SET updated = created;",

        "ALTER TABLE snapshots ADD COLUMN driver INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE snapshots ADD COLUMN size_max INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE snapshots ADD COLUMN bound TEXT;"
        "CREATE INDEX snapshots_bound ON snapshots (bound) WHERE bound IS NOT NULL;",

        ("ALTER TABLE boot ADD COLUMN orderly INTEGER NOT NULL DEFAULT 0;"
         "CREATE INDEX snapshots_damaged ON snapshots (id) WHERE damage IS NOT NULL;"),

        /* A start after a crash need not read all records, which are hundreds of bytes each. */
        "CREATE INDEX snapshots_state ON snapshots (state, kind);",

        /* What fs-verity measures of an image, where there is one of either. */
        "ALTER TABLE snapshots ADD COLUMN verity TEXT;",

        ("ALTER TABLE snapshots ADD COLUMN label_bytes INTEGER NOT NULL DEFAULT 0;"
         "UPDATE snapshots SET label_bytes = length(labels) WHERE labels IS NOT NULL;"
         "CREATE INDEX snapshots_labelled ON snapshots (uid, label_bytes) WHERE label_bytes > 0;"),
};

/* ---- opening ---- */

/* What is known about the last run; 0 if there was none. */
static int read_last_run(Database *database, const char *boot_id, bool *ret_same_boot, bool *ret_orderly) {
        DatabaseRows rows;
        int r = database_query(database, &rows, "SELECT id = ?, orderly FROM boot", "s", boot_id);
        if (r < 0)
                return r;
        r = database_rows_next(&rows);
        *ret_same_boot = r > 0 && database_rows_int64(&rows, 0);
        *ret_orderly = r > 0 && database_rows_int64(&rows, 1);
        database_rows_done(&rows);
        return r;
}

/* What a boot takes away. The order of writes is not known without a sync: a tree that was unpacked before
 * may have holes, and a volatile mount promises nothing. */
static int store_note_boot(Database *database) {
        int r = database_execute(database, "UPDATE snapshots SET state = ? WHERE mounted = ?", "ii",
                                 (int64_t) SNAPSHOT_LOST, (int64_t) MOUNTED_VOLATILE);
        if (r >= 0)
                r = database_execute(database, "UPDATE snapshots SET mounted = 0 WHERE mounted != 0", "");
        if (r >= 0) /* names of connections begin anew: "" is one that has ended */
                r = database_execute(database, "UPDATE snapshots SET bound = '' WHERE bound IS NOT NULL",
                                     "");
        if (r >= 0)
                r = database_execute(database, "UPDATE snapshots SET state = ? WHERE state = ? AND kind = ?",
                                     "iii", (int64_t) SNAPSHOT_FAILED, (int64_t) SNAPSHOT_UNPACKED,
                                     (int64_t) SNAPSHOT_ACTIVE);
        return r;
}

/* No worker lives longer than the daemon that drove it. */
static int store_note_crash(Database *database) {
        int r = database_execute(database, "UPDATE snapshots SET state = ? WHERE state = ?", "ii",
                                 (int64_t) SNAPSHOT_FAILED, (int64_t) SNAPSHOT_UNPACKING);
        return r < 0 ? r
                     : database_execute(database, "DELETE FROM snapshots WHERE state = ?", "i",
                                        (int64_t) SNAPSHOT_FILLING);
}

/* That the last end was orderly may outlive a power cut while what came before it does not: it counts for
 * nothing after a boot. */
static int store_recover(SnapshotStore *store, const char *boot_id) {
        Database *database = store->database;
        bool same_boot, orderly;
        int r = database_begin(database);
        if (r < 0)
                return r;
        _cleanup_(database_rollbackp) Database *transaction = database;
        r = read_last_run(database, boot_id, &same_boot, &orderly);
        if (r < 0)
                return r;
        store->start = !same_boot ? SNAPSHOT_STORE_AFTER_BOOT
                       : orderly  ? SNAPSHOT_STORE_AFTER_ORDERLY_END
                                  : SNAPSHOT_STORE_AFTER_CRASH;
        r = database_execute(database,
                             "INSERT INTO boot VALUES (1, ?, 0)"
                             " ON CONFLICT DO UPDATE SET id = ?1, orderly = 0",
                             "s", boot_id);
        if (r >= 0 && store->start == SNAPSHOT_STORE_AFTER_BOOT)
                r = store_note_boot(database);
        if (r >= 0 && store->start != SNAPSHOT_STORE_AFTER_ORDERLY_END)
                r = store_note_crash(database);
        return r < 0 ? r : database_commit(transaction);
}

SnapshotStoreStart snapshot_store_start(const SnapshotStore *store) {
        return store->start;
}

int snapshot_store_note_orderly_end(SnapshotStore *store) {
        int r = database_set_durable(store->database, false);
        return r < 0 ? r
                     : database_execute(store->database,
                                        "UPDATE boot SET orderly = NOT EXISTS"
                                        " (SELECT 1 FROM snapshots WHERE state IN (?, ?))",
                                        "ii", (int64_t) SNAPSHOT_UNPACKING, (int64_t) SNAPSHOT_FILLING);
}

int snapshot_store_open(int directory, const char *boot_id, SnapshotStore **ret, Fault *fault) {
        _cleanup_(snapshot_store_freep) SnapshotStore *store = new0(SnapshotStore, 1);
        if (!store)
                return -ENOMEM;
        store->reserve.directory = -EBADF;
        int r = database_open(directory, "snapshots.db", migrations, ELEMENTS_OF(migrations),
                              &store->database, fault);
        if (r < 0)
                return r;
        r = store_reserve_init(&store->reserve, directory);
        if (r >= 0)
                r = database_set_durable(store->database, false);
        if (r >= 0)
                r = store_recover(store, boot_id);
        if (r == -ENOSPC && store_reserve_release(&store->reserve))
                r = store_recover(store, boot_id);
        if (r < 0)
                return fault_set_errno(fault, r, "Can't bring the database up to date");
        *ret = TAKE_PTR(store);
        return 0;
}

SnapshotStore *snapshot_store_free(SnapshotStore *store) {
        if (!store)
                return NULL;
        database_free(store->database);
        store_reserve_done(&store->reserve);
        free(store->failed);
        return mfree(store);
}

/* ---- reading ---- */

static int read_snapshot(const SnapshotStore *store, DatabaseRows *rows, Snapshot *ret) {
        int r = snapshot_from_row(rows, ret);
        for (size_t i = 0; r >= 0 && i < store->failed_count; i++)
                if (store->failed[i] == ret->id)
                        ret->state = SNAPSHOT_FAILED;
        return r;
}

static int take_one(const SnapshotStore *store, DatabaseRows *rows, Snapshot *ret) {
        int r = database_rows_next(rows);
        if (r > 0)
                r = read_snapshot(store, rows, ret);
        else if (r == 0)
                r = -ENOENT;
        database_rows_done(rows);
        return r;
}

int snapshot_store_get(SnapshotStore *store, const char *namespace, const char *key, Snapshot *ret,
                       Fault *fault) {
        DatabaseRows rows;
        int r = database_query(store->database, &rows, SNAPSHOT_SELECT "WHERE s.namespace = ? AND s.key = ?",
                               "ss", namespace, key);
        if (r >= 0)
                r = take_one(store, &rows, ret);
        if (r == -ENOENT)
                return fault_set(fault, -ENOENT, "There is no snapshot '%s' in the namespace %s", key,
                                 namespace);
        return r < 0 ? fault_set_errno(fault, r, "Can't look up the snapshot '%s'", key) : 0;
}

int snapshot_store_get_by_id(SnapshotStore *store, int64_t id, Snapshot *ret) {
        DatabaseRows rows;
        int r = database_query(store->database, &rows, SNAPSHOT_SELECT "WHERE s.id = ?", "i", id);
        return r < 0 ? r : take_one(store, &rows, ret);
}

int snapshot_store_chain(SnapshotStore *store, int64_t id, SnapshotLayer **ret, size_t *ret_count) {
        _cleanup_free_ SnapshotLayer *chain = NULL;
        size_t count = 0;
        DatabaseRows rows;
        int r = database_query(
                store->database, &rows,
                "WITH RECURSIVE chain (id, parent, driver, depth) AS ("
                " SELECT id, parent, driver, 0 FROM snapshots WHERE id = ?"
                " UNION ALL SELECT s.id, s.parent, s.driver, depth + 1 FROM snapshots s, chain"
                " WHERE s.id = chain.parent AND depth < 1000)"
                "SELECT id, driver FROM chain ORDER BY depth",
                "i", id);
        if (r < 0)
                return r;
        while ((r = database_rows_next(&rows)) > 0) {
                SnapshotLayer *larger = reallocarray(chain, count + 1, sizeof(*chain));
                if (!larger) {
                        r = -ENOMEM;
                        break;
                }
                chain = larger;
                chain[count++] = (SnapshotLayer){
                        .id = database_rows_int64(&rows, 0),
                        .driver = (SnapshotDriverKind) database_rows_int64(&rows, 1),
                };
        }
        database_rows_done(&rows);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(chain);
        *ret_count = count;
        return 0;
}

/* There hardly ever is any: that is asked first. */
static int has_damaged(SnapshotStore *store) {
        DatabaseRows rows;
        int r = database_query(store->database, &rows,
                               "SELECT id FROM snapshots WHERE damage IS NOT NULL LIMIT 1", "");
        if (r < 0)
                return r;
        r = database_rows_next(&rows);
        database_rows_done(&rows);
        return r;
}

int snapshot_store_find_damaged(SnapshotStore *store, int64_t id, char **ret) {
        DatabaseRows rows;
        int r = has_damaged(store);
        if (r <= 0)
                return r;
        r = database_query(
                store->database, &rows,
                "WITH RECURSIVE chain (id, parent, key, damage, depth) AS ("
                " SELECT id, parent, key, damage, 0 FROM snapshots WHERE id = ?"
                " UNION ALL SELECT s.id, s.parent, s.key, s.damage, depth + 1 FROM snapshots s, chain"
                " WHERE s.id = chain.parent AND depth < 1000)"
                "SELECT key FROM chain WHERE damage IS NOT NULL LIMIT 1",
                "i", id);
        if (r < 0)
                return r;
        r = database_rows_next(&rows);
        if (r > 0) {
                *ret = strdup(database_rows_string(&rows, 0));
                r = *ret ? 1 : -ENOMEM;
        }
        database_rows_done(&rows);
        return r;
}

int snapshot_store_count_of_uid(SnapshotStore *store, uid_t uid, uint64_t *ret_count, uint64_t *ret_bytes) {
        DatabaseRows rows;
        int r = database_query(store->database, &rows,
                               "SELECT count(*), coalesce(sum(size), 0) FROM snapshots WHERE uid = ?", "i",
                               (int64_t) uid);
        if (r < 0)
                return r;
        r = database_rows_next(&rows);
        if (r > 0) {
                *ret_count = (uint64_t) database_rows_int64(&rows, 0);
                *ret_bytes = (uint64_t) database_rows_int64(&rows, 1);
        }
        database_rows_done(&rows);
        return r > 0 ? 0 : r < 0 ? r : -EIO;
}

static int visit_rows(const SnapshotStore *store, DatabaseRows *rows, uint32_t limit, SnapshotVisit visit,
                      void *userdata) {
        int r;
        for (uint32_t i = 0; (r = database_rows_next(rows)) > 0; i++) {
                if (i == limit)
                        break;
                Snapshot snapshot = { 0 };
                r = read_snapshot(store, rows, &snapshot);
                if (r >= 0)
                        r = visit(&snapshot, userdata);
                snapshot_done(&snapshot);
                if (r != 0)
                        break;
        }
        database_rows_done(rows);
        return r;
}

int snapshot_store_list(SnapshotStore *store, const char *namespace, const char *after, uint32_t limit,
                        SnapshotVisit visit, void *userdata) {
        DatabaseRows rows;
        int r = database_query(store->database, &rows,
                               SNAPSHOT_SELECT "WHERE s.namespace = ? AND s.key > ? ORDER BY s.key LIMIT ?",
                               "ssi", namespace, after ?: "", (int64_t) limit + 1);
        return r < 0 ? r : visit_rows(store, &rows, limit, visit, userdata);
}

int snapshot_store_list_all(SnapshotStore *store, int64_t after, uint32_t limit, SnapshotVisit visit,
                            void *userdata) {
        DatabaseRows rows;
        int r = database_query(store->database, &rows,
                               SNAPSHOT_SELECT "WHERE s.id > ? ORDER BY s.id LIMIT ?", "ii", after,
                               (int64_t) limit + 1);
        return r < 0 ? r : visit_rows(store, &rows, limit, visit, userdata);
}

int snapshot_store_visit_numbers(SnapshotStore *store, SnapshotNumberVisit visit, void *userdata) {
        DatabaseRows rows;
        int r = database_query(store->database, &rows,
                               "SELECT id, kind, state FROM snapshots INDEXED BY snapshots_state", "");
        if (r < 0)
                return r;
        while ((r = database_rows_next(&rows)) > 0) {
                SnapshotKind kind = (SnapshotKind) database_rows_int64(&rows, 1);
                bool has_tree = kind != SNAPSHOT_VIEW && database_rows_int64(&rows, 2) != SNAPSHOT_FAILED;
                r = visit(database_rows_int64(&rows, 0), kind, has_tree, userdata);
                if (r < 0)
                        break;
        }
        database_rows_done(&rows);
        return r;
}

int snapshot_store_visit_bound(SnapshotStore *store, SnapshotVisit visit, void *userdata) {
        DatabaseRows rows;
        int r = database_query(store->database, &rows, SNAPSHOT_SELECT "WHERE s.bound IS NOT NULL", "");
        return r < 0 ? r : visit_rows(store, &rows, UINT32_MAX, visit, userdata);
}

/* ---- what keeps things ---- */

void snapshot_store_watch(SnapshotStore *store, void (*on_change)(void *userdata), void *userdata) {
        store->on_change = on_change;
        store->userdata = userdata;
}

void snapshot_store_note_references(SnapshotStore *store) {
        store->refers = true;
}

bool snapshot_store_has_references(const SnapshotStore *store) {
        return store->refers;
}

void snapshot_store_note_use(const SnapshotStore *store) {
        if (store->refers && store->on_change)
                store->on_change(store->userdata);
}

void snapshot_store_note_labels(SnapshotStore *store, char *const *before, char *const *after) {
        if (!label_keeps_more(before, after))
                return;
        for (char *const *label = after; label && *label; label++)
                store->refers = store->refers || label_refers(*label);
        if (store->on_change)
                store->on_change(store->userdata);
}

/* ---- writing ---- */

uint64_t snapshot_store_now(void) {
        struct timespec now;
        (void) clock_gettime(CLOCK_REALTIME, &now);
        return (uint64_t) now.tv_sec * 1000000U + (uint64_t) now.tv_nsec / 1000U;
}

int snapshot_store_begin(SnapshotStore *store, bool durable) {
        int r = database_set_durable(store->database, durable);
        return r < 0 ? r : database_begin(store->database);
}

static int add_in_transaction(SnapshotStore *store, Snapshot *snapshot, SnapshotMake make, void *userdata,
                              Fault *fault) {
        _cleanup_free_ char *labels = NULL;
        size_t size;
        snapshot->created = snapshot->updated = snapshot_store_now();
        int r = snapshot_pack_labels(snapshot->labels, &labels, &size);
        if (r >= 0)
                r = database_execute(
                        store->database,
                        "INSERT INTO snapshots (namespace, key, kind, state, parent, created, updated, uid,"
                        " driver, size_max, bound, labels, label_bytes)"
                        " VALUES (?, ?, ?, ?, nullif(?, 0), ?6, ?6, ?, ?, ?, ?, ?, ?)",
                        "ssiiiiiiisbi", snapshot->namespace, snapshot->key, (int64_t) snapshot->kind,
                        (int64_t) snapshot->state, snapshot->parent_id, (int64_t) snapshot->created,
                        (int64_t) snapshot->uid, (int64_t) snapshot->driver, (int64_t) snapshot->size_max,
                        snapshot->bound, labels, size, (int64_t) snapshot_labels_bytes(snapshot->labels));
        if (r == -EEXIST)
                return fault_set(fault, -EEXIST, "There is a snapshot '%s' in the namespace %s already",
                                 snapshot->key, snapshot->namespace);
        if (r < 0)
                return fault_set_errno(fault, r, "Can't record the snapshot '%s'", snapshot->key);
        if (snapshot->labels)
                r = snapshot_labels_check(store, snapshot->uid, fault);
        if (r < 0)
                return r;
        snapshot->id = database_last_id(store->database);
        snapshot_store_note_labels(store, NULL, snapshot->labels);
        snapshot_store_note_use(store);
        return make ? make(snapshot->id, userdata, fault) : 0;
}

int snapshot_store_add(SnapshotStore *store, Snapshot *snapshot, SnapshotMake make, void *userdata,
                       Fault *fault) {
        int r = snapshot_store_begin(store, false);
        if (r < 0)
                return fault_set_errno(fault, r, "Can't record the snapshot '%s'", snapshot->key);
        _cleanup_(database_rollbackp) Database *transaction = store->database;
        r = add_in_transaction(store, snapshot, make, userdata, fault);
        if (r < 0)
                return r;
        r = database_commit(transaction);
        return r < 0 ? fault_set_errno(fault, r, "Can't record the snapshot '%s'", snapshot->key) : 0;
}

static int remove_record(SnapshotStore *store, const Snapshot *snapshot) {
        int r = snapshot_store_begin(store, snapshot->kind == SNAPSHOT_COMMITTED);
        if (r < 0)
                return r;
        _cleanup_(database_rollbackp) Database *transaction = store->database;
        r = database_execute(store->database, "DELETE FROM snapshots WHERE id = ?", "i", snapshot->id);
        return r < 0 ? r : database_commit(transaction);
}

/* On a full disk, too. */
int snapshot_store_remove(SnapshotStore *store, const Snapshot *snapshot, Fault *fault) {
        int r = remove_record(store, snapshot);
        if (r == -ENOSPC && store_reserve_release(&store->reserve))
                r = remove_record(store, snapshot);
        if (r == -EBUSY)
                return fault_set(fault, -EBUSY, "Other snapshots are built on '%s'", snapshot->key);
        return r < 0 ? fault_set_errno(fault, r, "Can't remove the snapshot '%s'", snapshot->key) : 0;
}

static int remove_records(SnapshotStore *store, const Snapshot snapshots[], size_t count,
                          bool ret_removed[]) {
        bool durable = false;
        for (size_t i = 0; i < count; i++)
                durable = durable || snapshots[i].kind == SNAPSHOT_COMMITTED;
        int r = snapshot_store_begin(store, durable);
        if (r < 0)
                return r;
        _cleanup_(database_rollbackp) Database *transaction = store->database;
        for (size_t i = 0; i < count; i++) {
                r = database_execute(store->database, "DELETE FROM snapshots WHERE id = ?", "i",
                                     snapshots[i].id);
                if (r < 0 && r != -EBUSY)
                        return r;
                ret_removed[i] = r > 0;
        }
        return database_commit(transaction);
}

int snapshot_store_remove_many(SnapshotStore *store, const Snapshot snapshots[], size_t count,
                               bool ret_removed[]) {
        int r = remove_records(store, snapshots, count, ret_removed);
        return r == -ENOSPC && store_reserve_release(&store->reserve)
                       ? remove_records(store, snapshots, count, ret_removed)
                       : r;
}

void snapshot_store_make_room(SnapshotStore *store) {
        store_reserve_restore(&store->reserve);
}

static int write_state(SnapshotStore *store, int64_t id, SnapshotState state, const char *diff_id) {
        if (state == SNAPSHOT_UNPACKING)
                snapshot_store_note_use(store);
        int r = database_set_durable(store->database, false);
        return r < 0 ? r
                     : database_execute(store->database,
                                        "UPDATE snapshots SET state = ?, diff_id = ? WHERE id = ?", "isi",
                                        (int64_t) state, diff_id, id);
}

/* That something failed for want of room must find room. */
int snapshot_store_set_state(SnapshotStore *store, int64_t id, SnapshotState state, const char *diff_id) {
        int r = write_state(store, id, state, diff_id);
        if (r == -ENOSPC && store_reserve_release(&store->reserve))
                r = write_state(store, id, state, diff_id);
        return r;
}

int snapshot_store_set_failed(SnapshotStore *store, int64_t id) {
        int r = snapshot_store_set_state(store, id, SNAPSHOT_FAILED, NULL);
        if (r >= 0)
                return 0;
        int64_t *larger = reallocarray(store->failed, store->failed_count + 1, sizeof(*larger));
        if (larger) {
                store->failed = larger;
                store->failed[store->failed_count++] = id;
        }
        return r;
}

int snapshot_store_set_mounted(SnapshotStore *store, int64_t id, SnapshotMounted mounted) {
        snapshot_store_note_use(store);
        int r = database_set_durable(store->database, false);
        return r < 0 ? r
                     : database_execute(store->database, "UPDATE snapshots SET mounted = ? WHERE id = ?",
                                        "ii", (int64_t) mounted, id);
}

int snapshot_store_set_bound(SnapshotStore *store, int64_t id, const char *connection) {
        snapshot_store_note_use(store);
        int r = database_set_durable(store->database, false);
        return r < 0 ? r
                     : database_execute(store->database, "UPDATE snapshots SET bound = ? WHERE id = ?", "si",
                                        connection, id);
}

int snapshot_store_distrust_unpacked(SnapshotStore *store) {
        int r = database_set_durable(store->database, true);
        return r < 0 ? r
                     : database_execute(store->database,
                                        "UPDATE snapshots SET state = ? WHERE state = ? AND kind = ?", "iii",
                                        (int64_t) SNAPSHOT_FAILED, (int64_t) SNAPSHOT_UNPACKED,
                                        (int64_t) SNAPSHOT_ACTIVE);
}

int snapshot_store_forget(SnapshotStore *store, int64_t id) {
        return database_execute(store->database, "DELETE FROM snapshots WHERE id = ? AND kind = ?", "ii", id,
                                (int64_t) SNAPSHOT_ACTIVE);
}
