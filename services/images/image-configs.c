/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <string.h>

#include "lib/limits.h"
#include "services/images/image-store-private.h"

/* Of each name, not of each digest: who could tell something wrong of a config (document-protocol.h) tells
 * it only to those who pulled that image. */

int image_store_put_config(ImageStore *store, const ImageRecord *record, const char *records, size_t size) {
        if (size > LIMIT_CONFIG_KEPT)
                return 0;
        return database_execute(store->database,
                                "INSERT OR REPLACE INTO configs (namespace, name, config, records)"
                                " VALUES (?, ?, ?, ?)",
                                "sssb", record->namespace, record->name, record->config, records, size);
}

int image_store_forget_config(ImageStore *store, const char *namespace, const char *name) {
        return database_execute(store->database, "DELETE FROM configs WHERE namespace = ? AND name = ?",
                                "ss", namespace, name);
}

int image_store_get_config(ImageStore *store, const ImageRecord *record, char **ret, size_t *ret_size) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        int r = database_query(store->database, &rows,
                               "SELECT records FROM configs WHERE namespace = ? AND name = ? AND config = ?",
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
