/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>

#include "lib/limits.h"
#include "lib/strv.h"
#include "services/images/image-store-private.h"

static int64_t count_names(ImageStore *store, const char *namespace) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        int r = database_query(store->database, &rows, "SELECT count(*) FROM images WHERE namespace = ?",
                               "s", namespace);
        if (r >= 0)
                r = database_rows_next(&rows);
        return r < 0 ? r : database_rows_int64(&rows, 0);
}

/* All of it but the labels, which are each name's own. */
static int copy(ImageStore *store, const ImageRecord *source, const char *name) {
        int r = database_execute(
                store->database,
                "INSERT INTO images (namespace, name, digest, media_type, manifest, config, chain_id, "
                "platform,"
                " size, created, pulled) SELECT namespace, ?3, digest, media_type, manifest, config, "
                "chain_id,"
                " platform, size, created, pulled FROM images WHERE namespace = ?1 AND name = ?2"
                " ON CONFLICT DO UPDATE SET digest = excluded.digest, media_type = excluded.media_type,"
                " manifest = excluded.manifest, config = excluded.config, chain_id = excluded.chain_id,"
                " platform = excluded.platform, size = excluded.size, created = excluded.created,"
                " pulled = excluded.pulled",
                "sss", source->namespace, source->name, name);
        if (r == 0)
                return -ENOENT;
        if (r >= 0)
                r = database_execute(store->database, "DELETE FROM needs WHERE namespace = ? AND name = ?",
                                     "ss", source->namespace, name);
        if (r >= 0)
                r = database_execute(store->database,
                                     "INSERT INTO needs (namespace, name, kind, thing, position)"
                                     " SELECT namespace, ?3, kind, thing, position FROM needs"
                                     " WHERE namespace = ?1 AND name = ?2",
                                     "sss", source->namespace, source->name, name);
        if (r >= 0)
                r = image_store_forget_config(store, source->namespace, name);
        if (r >= 0)
                r = database_execute(store->database,
                                     "INSERT INTO configs (namespace, name, config, records)"
                                     " SELECT namespace, ?3, config, records FROM configs"
                                     " WHERE namespace = ?1 AND name = ?2",
                                     "sss", source->namespace, source->name, name);
        return r;
}

int image_store_tag(ImageStore *store, const ImageRecord *source, const char *name, bool replace) {
        bool is_there = image_store_has(store, source->namespace, name);
        if (is_there && !replace)
                return -EEXIST;
        if (string_equal(source->name, name))
                return 1;
        int64_t count = is_there ? 0 : count_names(store, source->namespace);
        if (count < 0)
                return (int) count;
        if (count >= LIMIT_NAMES_PER_NAMESPACE)
                return -EDQUOT;
        int r = database_begin(store->database);
        if (r < 0)
                return r;
        _cleanup_(database_rollbackp) _unused_ Database *transaction = store->database;
        r = copy(store, source, name);
        store->changes++;
        if (r >= 0)
                r = database_commit(store->database);
        return r < 0 ? r : is_there;
}
