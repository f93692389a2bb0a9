/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/images/image-store.h"

#include <errno.h>
#include <string.h>

#include "lib/limits.h"
#include "lib/strv.h"
#include "services/images/image-store-private.h"

static const char *const migrations[] = {
        "CREATE TABLE images (namespace TEXT NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL,"
        " media_type TEXT NOT NULL, manifest TEXT NOT NULL, config TEXT NOT NULL, chain_id TEXT NOT NULL,"
        " platform TEXT NOT NULL, size INTEGER NOT NULL, created INTEGER NOT NULL, pulled INTEGER NOT NULL,"
        " PRIMARY KEY (namespace, name)) WITHOUT ROWID;"
        /* kind: a GarbageKind; position: of a snapshot in its stack */
        "CREATE TABLE needs (namespace TEXT NOT NULL, name TEXT NOT NULL, kind INTEGER NOT NULL,"
        " thing TEXT NOT NULL, position INTEGER NOT NULL, PRIMARY KEY (namespace, name, kind, thing),"
        " FOREIGN KEY (namespace, name) REFERENCES images ON DELETE CASCADE) WITHOUT ROWID;"
        "CREATE INDEX needs_by_thing ON needs (namespace, kind, thing);"
        "CREATE TABLE garbage (namespace TEXT NOT NULL, kind INTEGER NOT NULL, thing TEXT NOT NULL,"
        " position INTEGER NOT NULL, PRIMARY KEY (namespace, kind, thing)) WITHOUT ROWID;"
        "CREATE TABLE unpackings (namespace TEXT NOT NULL, prefix TEXT NOT NULL,"
        " PRIMARY KEY (namespace, prefix)) WITHOUT ROWID;",

        "CREATE TABLE labels (namespace TEXT NOT NULL, name TEXT NOT NULL, key TEXT NOT NULL,"
        " value TEXT NOT NULL, PRIMARY KEY (namespace, name, key),"
        " FOREIGN KEY (namespace, name) REFERENCES images ON DELETE CASCADE) WITHOUT ROWID;"
        "CREATE TABLE orphans (namespace TEXT NOT NULL, kind INTEGER NOT NULL, thing TEXT NOT NULL,"
        " since INTEGER NOT NULL, PRIMARY KEY (namespace, kind, thing)) WITHOUT ROWID;"
        /* What documents refer to, whoever has them: it stays true when no image needs them any more. */
        "CREATE TABLE documents (digest TEXT NOT NULL, kind INTEGER NOT NULL, thing TEXT NOT NULL,"
        " how TEXT NOT NULL, noted INTEGER NOT NULL, PRIMARY KEY (digest, kind, thing)) WITHOUT ROWID;"
        "INSERT OR IGNORE INTO documents SELECT digest, 1, manifest, 'manifest', 0 FROM images"
        " WHERE digest <> manifest;"
        "INSERT OR IGNORE INTO documents SELECT manifest, kind, thing, CASE WHEN kind = 0 THEN 'unpacked'"
        " WHEN thing = config THEN 'config' ELSE 'layer' END, 0 FROM needs JOIN images"
        " USING (namespace, name) WHERE thing NOT IN (digest, manifest);",

        "CREATE TABLE configs (namespace TEXT NOT NULL, name TEXT NOT NULL, config TEXT NOT NULL,"
        " records BLOB NOT NULL, PRIMARY KEY (namespace, name),"
        " FOREIGN KEY (namespace, name) REFERENCES images ON DELETE CASCADE);",

        /* needs: how many of them an image has */
        "ALTER TABLE images ADD COLUMN needs INTEGER NOT NULL DEFAULT 0;"
        "UPDATE images SET needs = (SELECT count(*) FROM needs WHERE needs.namespace = images.namespace"
        " AND needs.name = images.name);"
        "CREATE TABLE kept_configs (id INTEGER PRIMARY KEY, namespace TEXT NOT NULL, config TEXT NOT NULL,"
        " size INTEGER NOT NULL, records BLOB NOT NULL);"
        "CREATE INDEX kept_configs_by_config ON kept_configs (namespace, config, size);"
        "CREATE TABLE config_uses (namespace TEXT NOT NULL, name TEXT NOT NULL,"
        " copy INTEGER NOT NULL REFERENCES kept_configs, PRIMARY KEY (namespace, name),"
        " FOREIGN KEY (namespace, name) REFERENCES images ON DELETE CASCADE) WITHOUT ROWID;"
        "CREATE INDEX config_uses_by_copy ON config_uses (copy);"
        "INSERT INTO kept_configs (id, namespace, config, size, records)"
        " SELECT rowid, namespace, config, length(records), records FROM configs;"
        "INSERT INTO config_uses (namespace, name, copy) SELECT namespace, name, rowid FROM configs;"
        "DROP TABLE configs;"
        "CREATE TRIGGER config_use_ends AFTER DELETE ON config_uses"
        " WHEN NOT EXISTS (SELECT 1 FROM config_uses WHERE copy = OLD.copy)"
        " BEGIN DELETE FROM kept_configs WHERE id = OLD.copy; END;",
};

int image_store_open(int directory, ImageStore **ret, Fault *fault) {
        _cleanup_(image_store_freep) ImageStore *store = new0(ImageStore, 1);
        if (!store)
                return -ENOMEM;
        store->reserve.directory = -EBADF;
        int r = database_open(directory, "images.db", migrations, ELEMENTS_OF(migrations), &store->database,
                              fault);
        if (r >= 0)
                r = store_reserve_init(&store->reserve, directory);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(store);
        return 0;
}

ImageStore *image_store_free(ImageStore *store) {
        if (!store)
                return NULL;
        database_free(store->database);
        store_reserve_done(&store->reserve);
        free(store);
        return NULL;
}

void image_store_make_room(ImageStore *store) {
        if (store_reserve_is_needed(&store->reserve))
                (void) store_reserve_release(&store->reserve);
}

void image_store_keep_room(ImageStore *store) {
        store_reserve_restore(&store->reserve);
}

/* ---- images ---- */

#define IMAGE_COLUMNS                                                                                       \
        "namespace, name, digest, media_type, manifest, config, chain_id, platform, size, created, pulled"

static int read_record(const DatabaseRows *rows, ImageRecord *ret) {
        ImageRecord record = { 0 };
        char **fields[] = {
                &record.namespace, &record.name,   &record.digest,   &record.media_type,
                &record.manifest,  &record.config, &record.chain_id, &record.platform,
        };

        for (size_t i = 0; i < ELEMENTS_OF(fields); i++) {
                const char *value = database_rows_string(rows, (int) i);
                if (!(*fields[i] = strdup(value ? value : ""))) {
                        image_record_done(&record);
                        return -ENOMEM;
                }
        }
        record.size = (uint64_t) database_rows_int64(rows, 8);
        record.created = (uint64_t) database_rows_int64(rows, 9);
        record.pulled = (uint64_t) database_rows_int64(rows, 10);
        *ret = record;
        return 0;
}

static int read_whole_record(ImageStore *store, const DatabaseRows *rows, ImageRecord *ret) {
        ImageRecord record = { 0 };
        int r = read_record(rows, &record);
        if (r >= 0)
                r = image_labels_read(store, record.namespace, record.name, &record.labels);
        if (r < 0) {
                image_record_done(&record);
                return r;
        }
        *ret = record;
        return 0;
}

int image_store_get(ImageStore *store, const char *namespace, const char *name, ImageRecord *ret) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        int r = database_query(store->database, &rows,
                               "SELECT " IMAGE_COLUMNS " FROM images WHERE namespace = ? AND name = ?", "ss",
                               namespace, name);
        if (r < 0)
                return r;
        r = database_rows_next(&rows);
        if (r <= 0)
                return r < 0 ? r : -ENOENT;
        return read_whole_record(store, &rows, ret);
}

/* 1 if there is a row. */
static int has_row(DatabaseRows *rows) {
        int r = database_rows_next(rows);
        database_rows_done(rows);
        return r;
}

bool image_store_has(ImageStore *store, const char *namespace, const char *name) {
        DatabaseRows rows;
        if (database_query(store->database, &rows, "SELECT 1 FROM images WHERE namespace = ? AND name = ?",
                           "ss", namespace, name) < 0)
                return false;
        return has_row(&rows) > 0;
}

static int put_needs(ImageStore *store, const ImageRecord *record, GarbageKind kind, char *const *things) {
        for (size_t i = 0; things && things[i]; i++) {
                int r = database_execute(
                        store->database,
                        "INSERT OR REPLACE INTO needs (namespace, name, kind, thing, position)"
                        " VALUES (?, ?, ?, ?, ?)",
                        "ssisi", record->namespace, record->name, (int64_t) kind, things[i], (int64_t) i);
                if (r < 0)
                        return r;
                /* What was to be removed is needed again. */
                r = image_store_forget_garbage(store, record->namespace, kind, things[i]);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* 1 if there was one of that name. Its labels stay. */
static int put_image(ImageStore *store, const ImageRecord *record) {
        bool replaced = image_store_has(store, record->namespace, record->name);
        uint64_t needs = strv_length(record->blobs) + strv_length(record->chains);
        int r = image_store_check_needs(store, record->namespace, record->name, needs);
        if (r >= 0)
                r = database_execute(
                        store->database,
                        "INSERT INTO images (" IMAGE_COLUMNS ", needs)"
                        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                        " ON CONFLICT DO UPDATE SET digest = ?3, media_type = ?4, manifest = ?5, config = "
                        "?6,"
                        " chain_id = ?7, platform = ?8, size = ?9, created = ?10, pulled = ?11, needs = ?12",
                        "ssssssssiiii", record->namespace, record->name, record->digest, record->media_type,
                        record->manifest, record->config, record->chain_id, record->platform,
                        (int64_t) record->size, (int64_t) record->created, (int64_t) record->pulled,
                        (int64_t) needs);
        if (r >= 0)
                r = database_execute(store->database, "DELETE FROM needs WHERE namespace = ? AND name = ?",
                                     "ss", record->namespace, record->name);
        if (r >= 0)
                r = image_configs_forget(store, record->namespace, record->name);
        return r < 0 ? r : replaced;
}

/* What the name stands for until this may be what somebody has resolved it to. */
static bool takes_name_away(ImageStore *store, const ImageRecord *record) {
        DatabaseRows rows;
        return database_query(store->database, &rows,
                              "SELECT 1 FROM images WHERE namespace = ? AND name = ? AND digest <> ?", "sss",
                              record->namespace, record->name, record->digest) < 0 ||
               has_row(&rows) != 0;
}

int image_store_put(ImageStore *store, const ImageRecord *record, const char *unpacking) {
        int r = database_begin(store->database);
        if (r < 0)
                return r;
        _cleanup_(database_rollbackp) _unused_ Database *transaction = store->database;

        bool other = takes_name_away(store, record);
        int replaced = put_image(store, record);
        if (replaced < 0)
                return replaced;
        r = put_needs(store, record, GARBAGE_BLOB, record->blobs);
        if (r >= 0)
                r = put_needs(store, record, GARBAGE_SNAPSHOT, record->chains);
        if (r >= 0)
                r = image_documents_put(store, record);
        if (r >= 0)
                r = image_labels_put(store, record);
        if (r >= 0 && record->config_records)
                r = image_configs_put(store, record, record->config_records, record->config_size);
        if (r >= 0 && unpacking)
                r = image_store_remove_unpacking(store, record->namespace, unpacking);
        if (r >= 0)
                r = database_commit(store->database);
        if (r < 0)
                return r;
        store->changes += other;
        return replaced;
}

static int remove_image(ImageStore *store, const char *namespace, const char *name) {
        int r = database_begin(store->database);
        if (r < 0)
                return r;
        _cleanup_(database_rollbackp) _unused_ Database *transaction = store->database;

        r = database_execute(store->database,
                             "INSERT OR REPLACE INTO garbage (namespace, kind, thing, position)"
                             " SELECT namespace, kind, thing, position FROM needs AS mine"
                             " WHERE namespace = ? AND name = ? AND NOT EXISTS (SELECT 1 FROM needs AS other"
                             "  WHERE other.namespace = mine.namespace AND other.kind = mine.kind"
                             "  AND other.thing = mine.thing AND other.name <> mine.name)",
                             "ss", namespace, name);
        if (r >= 0)
                r = database_execute(store->database, "DELETE FROM images WHERE namespace = ? AND name = ?",
                                     "ss", namespace, name);
        if (r <= 0)
                return r < 0 ? r : -ENOENT;
        r = database_commit(store->database);
        if (r >= 0)
                store->changes++;
        return r;
}

/* On a full disk, too. */
int image_store_remove(ImageStore *store, const char *namespace, const char *name) {
        int r = remove_image(store, namespace, name);
        return r == -ENOSPC && store_reserve_release(&store->reserve) ? remove_image(store, namespace, name)
                                                                      : r;
}

int image_store_list(ImageStore *store, const char *namespace, const char *after, ImageVisit visit,
                     void *userdata) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        int r;
        if (namespace)
                r = database_query(store->database, &rows,
                                   "SELECT " IMAGE_COLUMNS " FROM images WHERE namespace = ? AND name > ?"
                                   " ORDER BY name",
                                   "ss", namespace, after ? after : "");
        else
                r = database_query(store->database, &rows,
                                   "SELECT " IMAGE_COLUMNS " FROM images ORDER BY namespace, name", "");
        if (r < 0)
                return r;
        while ((r = database_rows_next(&rows)) > 0) {
                ImageRecord record = { 0 };
                r = read_whole_record(store, &rows, &record);
                if (r >= 0)
                        r = visit(&record, userdata);
                image_record_done(&record);
                if (r != 0)
                        return r;
        }
        return r;
}

static bool is_needed(ImageStore *store, const char *namespace, GarbageKind kind, const char *thing) {
        DatabaseRows rows;
        if (database_query(store->database, &rows,
                           "SELECT 1 FROM needs WHERE namespace = ? AND kind = ? AND thing = ?", "sis",
                           namespace, (int64_t) kind, thing) < 0)
                return true;
        return has_row(&rows) != 0;
}

bool image_store_needs_blob(ImageStore *store, const char *namespace, const char *digest) {
        return is_needed(store, namespace, GARBAGE_BLOB, digest);
}

bool image_store_needs_chain(ImageStore *store, const char *namespace, const char *chain_id) {
        return is_needed(store, namespace, GARBAGE_SNAPSHOT, chain_id);
}

/* ---- what is left to be done ---- */

int image_store_list_garbage(ImageStore *store, GarbageVisit visit, void *userdata) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        int r = database_query(
                store->database, &rows,
                "SELECT namespace, kind, thing FROM garbage ORDER BY namespace, kind, position DESC", "");
        if (r < 0)
                return r;
        while ((r = database_rows_next(&rows)) > 0) {
                r = visit(database_rows_string(&rows, 0), (GarbageKind) database_rows_int64(&rows, 1),
                          database_rows_string(&rows, 2), userdata);
                if (r != 0)
                        return r;
        }
        return r;
}

bool image_store_has_garbage(ImageStore *store) {
        DatabaseRows rows;
        return database_query(store->database, &rows, "SELECT 1 FROM garbage LIMIT 1", "") < 0 ||
               has_row(&rows) != 0;
}

int image_store_add_garbage(ImageStore *store, const char *namespace, GarbageKind kind, const char *name,
                            uint32_t position) {
        return database_execute(store->database,
                                "INSERT OR REPLACE INTO garbage (namespace, kind, thing, position)"
                                " VALUES (?, ?, ?, ?)",
                                "sisi", namespace, (int64_t) kind, name, (int64_t) position);
}

int image_store_forget_garbage(ImageStore *store, const char *namespace, GarbageKind kind,
                               const char *name) {
        return database_execute(store->database,
                                "DELETE FROM garbage WHERE namespace = ? AND kind = ? AND thing = ?", "sis",
                                namespace, (int64_t) kind, name);
}

int image_store_add_unpacking(ImageStore *store, const char *namespace, const char *prefix) {
        return database_execute(store->database,
                                "INSERT OR REPLACE INTO unpackings (namespace, prefix) VALUES (?, ?)", "ss",
                                namespace, prefix);
}

int image_store_remove_unpacking(ImageStore *store, const char *namespace, const char *prefix) {
        return database_execute(store->database, "DELETE FROM unpackings WHERE namespace = ? AND prefix = ?",
                                "ss", namespace, prefix);
}

int image_store_list_unpacking(ImageStore *store, UnpackingVisit visit, void *userdata) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        int r = database_query(store->database, &rows, "SELECT namespace, prefix FROM unpackings", "");
        if (r < 0)
                return r;
        while ((r = database_rows_next(&rows)) > 0) {
                r = visit(database_rows_string(&rows, 0), database_rows_string(&rows, 1), userdata);
                if (r != 0)
                        return r;
        }
        return r;
}
