/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>

#include "lib/label.h"
#include "lib/strv.h"
#include "services/images/image-store-private.h"

int image_labels_read(ImageStore *store, const char *namespace, const char *name, char ***ret) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        _cleanup_strv_ char **labels = NULL;
        int r = database_query(store->database, &rows,
                               "SELECT key, value FROM labels WHERE namespace = ? AND name = ? ORDER BY key",
                               "ss", namespace, name);
        while (r >= 0 && (r = database_rows_next(&rows)) > 0)
                r = strv_appendf(&labels, "%s=%s", database_rows_string(&rows, 0),
                                 database_rows_string(&rows, 1));
        if (r < 0)
                return r;
        *ret = TAKE_PTR(labels);
        return 0;
}

static int put_label(ImageStore *store, const char *namespace, const char *name, const char *label) {
        const char *equals = strchr(label, '=');
        _cleanup_free_ char *key = strndup(label, (size_t) (equals - label));
        if (!key)
                return -ENOMEM;
        return database_execute(store->database,
                                "INSERT OR REPLACE INTO labels (namespace, name, key, value)"
                                " VALUES (?, ?, ?, ?)",
                                "ssss", namespace, name, key, equals + 1);
}

int image_labels_put(ImageStore *store, const ImageRecord *record) {
        int r = 0;
        for (char *const *label = record->labels; r >= 0 && label && *label; label++)
                r = put_label(store, record->namespace, record->name, *label);
        return r < 0 ? r : 0;
}

int image_store_change_labels(ImageStore *store, const ImageRecord *record, char *const *changes,
                              bool replace, Fault *fault) {
        _cleanup_strv_ char **labels = NULL, **before = NULL;
        int r = database_begin(store->database);
        if (r < 0)
                return r;
        _cleanup_(database_rollbackp) _unused_ Database *transaction = store->database;

        if (!image_store_has(store, record->namespace, record->name))
                return -ENOENT;
        r = image_labels_read(store, record->namespace, record->name, &labels);
        if (r >= 0)
                r = strv_copy((const char *const *) labels, &before);
        if (r >= 0)
                r = label_change(&labels, changes, replace, fault);
        if (r >= 0)
                r = database_execute(store->database, "DELETE FROM labels WHERE namespace = ? AND name = ?",
                                     "ss", record->namespace, record->name);
        for (size_t i = 0; r >= 0 && labels && labels[i]; i++)
                r = put_label(store, record->namespace, record->name, labels[i]);
        if (r >= 0 && label_keeps_more(before, labels))
                store->changes++;
        return r < 0 ? r : database_commit(store->database);
}

uint64_t image_store_changes(const ImageStore *store) {
        return store->changes;
}
