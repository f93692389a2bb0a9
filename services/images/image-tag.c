/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>

#include "lib/limits.h"
#include "lib/strv.h"
#include "services/images/image-store-private.h"

int image_store_count_needs(ImageStore *store, const char *namespace, const char *except,
                            uint64_t *ret_names, uint64_t *ret_things) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        int r = database_query(store->database, &rows,
                               "SELECT count(*), coalesce(sum(needs), 0) FROM images"
                               " WHERE namespace = ? AND name <> ?",
                               "ss", namespace, except);
        if (r >= 0)
                r = database_rows_next(&rows);
        if (r <= 0)
                return r < 0 ? r : -EIO;
        *ret_names = (uint64_t) database_rows_int64(&rows, 0);
        *ret_things = (uint64_t) database_rows_int64(&rows, 1);
        return 0;
}

int image_store_check_needs(ImageStore *store, const char *namespace, const char *name, uint64_t needs) {
        uint64_t names, others;
        int r = image_store_count_needs(store, namespace, name, &names, &others);
        return r >= 0 && others + needs > LIMIT_NEEDS_PER_NAMESPACE ? -EDQUOT : r;
}

static int get_needs(ImageStore *store, const ImageRecord *image, uint64_t *ret) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        int r = database_query(store->database, &rows,
                               "SELECT needs FROM images WHERE namespace = ? AND name = ?", "ss",
                               image->namespace, image->name);
        if (r >= 0)
                r = database_rows_next(&rows);
        if (r <= 0)
                return r < 0 ? r : -ENOENT;
        *ret = (uint64_t) database_rows_int64(&rows, 0);
        return 0;
}

static int check_limits(ImageStore *store, const ImageRecord *source, const char *name, bool is_there,
                        Fault *fault) {
        uint64_t names, others, needs;
        int r = get_needs(store, source, &needs);
        if (r >= 0)
                r = image_store_count_needs(store, source->namespace, name, &names, &others);
        if (r < 0)
                return r;
        if (!is_there && names >= LIMIT_NAMES_PER_NAMESPACE)
                return fault_set(fault, -EDQUOT, "the namespace %s has %i images", source->namespace,
                                 LIMIT_NAMES_PER_NAMESPACE);
        if (others + needs > LIMIT_NEEDS_PER_NAMESPACE)
                return fault_set(fault, -EDQUOT,
                                 "the images of the namespace %s may need %i blobs and snapshots, each "
                                 "counted for every name",
                                 source->namespace, LIMIT_NEEDS_PER_NAMESPACE);
        return 0;
}

/* All of it but the labels, which are each name's own. */
static int copy(ImageStore *store, const ImageRecord *source, const char *name) {
        int r = database_execute(
                store->database,
                "INSERT INTO images (namespace, name, digest, media_type, manifest, config, chain_id, "
                "platform,"
                " size, created, pulled, needs) SELECT namespace, ?3, digest, media_type, manifest, config,"
                " chain_id, platform, size, created, pulled, needs FROM images"
                " WHERE namespace = ?1 AND name = ?2"
                " ON CONFLICT DO UPDATE SET digest = excluded.digest, media_type = excluded.media_type,"
                " manifest = excluded.manifest, config = excluded.config, chain_id = excluded.chain_id,"
                " platform = excluded.platform, size = excluded.size, created = excluded.created,"
                " pulled = excluded.pulled, needs = excluded.needs",
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
                r = image_configs_forget(store, source->namespace, name);
        return r < 0 ? r : image_configs_copy(store, source, name);
}

int image_store_tag(ImageStore *store, const ImageRecord *source, const char *name, bool replace,
                    Fault *fault) {
        bool is_there = image_store_has(store, source->namespace, name);
        if (is_there && !replace)
                return -EEXIST;
        if (string_equal(source->name, name))
                return 1;
        int r = check_limits(store, source, name, is_there, fault);
        if (r < 0)
                return r;
        r = database_begin(store->database);
        if (r < 0)
                return r;
        _cleanup_(database_rollbackp) _unused_ Database *transaction = store->database;
        r = copy(store, source, name);
        store->changes++;
        if (r >= 0)
                r = database_commit(store->database);
        return r < 0 ? r : is_there;
}
