/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <time.h>

#include "lib/strv.h"
#include "services/images/image-store-private.h"

static uint64_t now_usec(void) {
        struct timespec now;
        (void) clock_gettime(CLOCK_REALTIME, &now);
        return (uint64_t) now.tv_sec * 1000000 + (uint64_t) now.tv_nsec / 1000;
}

static int put(ImageStore *store, const char *digest, GarbageKind kind, const char *thing, const char *how) {
        return database_execute(store->database,
                                "INSERT OR REPLACE INTO documents (digest, kind, thing, how, noted)"
                                " VALUES (?, ?, ?, ?, ?)",
                                "sissi", digest, (int64_t) kind, thing, how, (int64_t) now_usec());
}

/* Each document leads to the next one, down to the manifest, and that to the rest. */
int image_documents_put(ImageStore *store, const ImageRecord *record) {
        char *const *blobs = record->blobs;
        size_t i = 0;
        int r = 0;

        for (; r >= 0 && blobs && blobs[i] && !string_equal(blobs[i], record->manifest); i++)
                if (blobs[i + 1])
                        r = put(store, blobs[i], GARBAGE_BLOB, blobs[i + 1], "manifest");
        if (r < 0 || !blobs || !blobs[i])
                return r < 0 ? r : 0;
        for (size_t k = i + 1; r >= 0 && blobs[k]; k++)
                r = put(store, record->manifest, GARBAGE_BLOB, blobs[k],
                        string_equal(blobs[k], record->config) ? "config" : "layer");
        for (size_t k = 0; r >= 0 && record->chains && record->chains[k]; k++)
                r = put(store, record->manifest, GARBAGE_SNAPSHOT, record->chains[k], "unpacked");
        return r < 0 ? r : 0;
}

int image_store_visit_document(ImageStore *store, const char *digest, ReferenceVisit visit, void *userdata) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        int r = database_query(store->database, &rows,
                               "SELECT kind, thing, how FROM documents WHERE digest = ?", "s", digest);
        while (r >= 0 && (r = database_rows_next(&rows)) > 0)
                r = visit((GarbageKind) database_rows_int64(&rows, 0), database_rows_string(&rows, 1),
                          database_rows_string(&rows, 2), userdata);
        return r;
}

int image_store_forget_documents(ImageStore *store, DocumentNext next, void *userdata,
                                 uint64_t noted_before) {
        int r = database_begin(store->database);
        if (r < 0)
                return r;
        _cleanup_(database_rollbackp) _unused_ Database *transaction = store->database;

        for (const char *digest; r >= 0 && (digest = next(userdata));)
                r = database_execute(store->database,
                                     "DELETE FROM documents WHERE digest = ?1 AND noted < ?2 AND NOT EXISTS"
                                     " (SELECT 1 FROM needs WHERE kind = 1 AND thing = ?1)",
                                     "si", digest, (int64_t) noted_before);
        return r < 0 ? r : database_commit(store->database);
}
