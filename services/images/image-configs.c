/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <string.h>

#include "lib/limits.h"
#include "services/images/image-store-private.h"

/* Of each name, not of each digest: who could tell something wrong of a config (document-protocol.h) tells
 * it only to those who pulled that image. Names of one namespace to which the same was told, word for word,
 * or which were given to the same image, share one copy: a trigger takes it away with the last of them. */

/* 1 if there is a copy. */
static int find_copy(ImageStore *store, const ImageRecord *record, const char *records, size_t size,
                     int64_t *ret) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        int r = database_query(store->database, &rows,
                               "SELECT id FROM kept_configs"
                               " WHERE namespace = ? AND config = ? AND size = ? AND records = ?",
                               "ssib", record->namespace, record->config, (int64_t) size, records, size);
        if (r >= 0)
                r = database_rows_next(&rows);
        if (r > 0)
                *ret = database_rows_int64(&rows, 0);
        return r;
}

/* 1 if the namespace may keep so many bytes more. */
static int has_room(ImageStore *store, const char *namespace, size_t size) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        int r = database_query(store->database, &rows,
                               "SELECT coalesce(sum(size), 0) FROM kept_configs WHERE namespace = ?", "s",
                               namespace);
        if (r >= 0)
                r = database_rows_next(&rows);
        if (r < 0)
                return r;
        return r > 0 && (uint64_t) database_rows_int64(&rows, 0) + size <= LIMIT_CONFIGS_PER_NAMESPACE;
}

/* 1, or 0 if there is no room. */
static int find_or_add_copy(ImageStore *store, const ImageRecord *record, const char *records, size_t size,
                            int64_t *ret) {
        int r = find_copy(store, record, records, size, ret);
        if (r == 0)
                r = has_room(store, record->namespace, size);
        else
                return r;
        if (r <= 0)
                return r;
        r = database_execute(store->database,
                             "INSERT INTO kept_configs (namespace, config, size, records)"
                             " VALUES (?, ?, ?, ?)",
                             "ssib", record->namespace, record->config, (int64_t) size, records, size);
        *ret = database_last_id(store->database);
        return r;
}

int image_configs_put(ImageStore *store, const ImageRecord *record, const char *records, size_t size) {
        int64_t copy;
        if (size > LIMIT_CONFIG_KEPT)
                return 0;
        int r = image_configs_forget(store, record->namespace, record->name);
        if (r >= 0)
                r = find_or_add_copy(store, record, records, size, &copy);
        return r <= 0 ? r
                      : database_execute(store->database,
                                         "INSERT INTO config_uses (namespace, name, copy) VALUES (?, ?, ?)",
                                         "ssi", record->namespace, record->name, copy);
}

int image_configs_copy(ImageStore *store, const ImageRecord *source, const char *name) {
        return database_execute(store->database,
                                "INSERT INTO config_uses (namespace, name, copy)"
                                " SELECT namespace, ?3, copy FROM config_uses"
                                " WHERE namespace = ?1 AND name = ?2",
                                "sss", source->namespace, source->name, name);
}

int image_configs_forget(ImageStore *store, const char *namespace, const char *name) {
        return database_execute(store->database, "DELETE FROM config_uses WHERE namespace = ? AND name = ?",
                                "ss", namespace, name);
}

int image_store_put_config(ImageStore *store, const ImageRecord *record, const char *records, size_t size) {
        int r = database_begin(store->database);
        if (r < 0)
                return r;
        _cleanup_(database_rollbackp) _unused_ Database *transaction = store->database;
        r = image_configs_put(store, record, records, size);
        return r < 0 ? r : database_commit(store->database);
}

int image_store_get_config(ImageStore *store, const ImageRecord *record, char **ret, size_t *ret_size) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        int r = database_query(store->database, &rows,
                               "SELECT records FROM config_uses JOIN kept_configs ON id = copy"
                               " WHERE config_uses.namespace = ? AND name = ? AND config = ?",
                               "sss", record->namespace, record->name, record->config);
        if (r >= 0)
                r = database_rows_next(&rows);
        if (r <= 0)
                return r < 0 ? r : -ENOENT;
        size_t size = 0;
        const void *blob = database_rows_blob(&rows, 0, &size);
        if (!blob || size == 0)
                return -ENOENT;
        char *copy = malloc(size);
        if (!copy)
                return -ENOMEM;
        memcpy(copy, blob, size);
        *ret = copy;
        *ret_size = size;
        return 0;
}
