/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/content/content-namespace.h"

#include "lib/limits.h"
#include "lib/strv.h"

int content_namespace_usage(ContentState *state, const char *namespace, NamespaceUsage *ret) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        int r = database_query(state->database, &rows,
                               "SELECT blobs, bytes, shareable FROM namespaces WHERE namespace = ?", "s",
                               namespace);
        if (r >= 0)
                r = database_rows_next(&rows);
        if (r < 0)
                return r;
        *ret = (NamespaceUsage){ 0 };
        if (r > 0)
                *ret = (NamespaceUsage){
                        .blobs = (uint64_t) database_rows_int64(&rows, 0),
                        .bytes = (uint64_t) database_rows_int64(&rows, 1),
                        .shareable = database_rows_int64(&rows, 2) != 0,
                };
        return 0;
}

int content_namespace_share(ContentState *state, const char *namespace, bool shareable) {
        int r = database_execute(state->database,
                                 "INSERT INTO namespaces (namespace, shareable) VALUES (?, ?)"
                                 " ON CONFLICT (namespace) DO UPDATE SET shareable = excluded.shareable",
                                 "si", namespace, (int64_t) shareable);
        return r < 0 ? r : 0;
}

/* "u1000" and the like: whoever may act in another one has been given the right to. */
static bool is_of_user(const char *namespace) {
        uint64_t uid;
        return namespace[0] == 'u' && string_to_uint64(namespace + 1, UINT32_MAX, &uid) >= 0;
}

uint64_t content_namespace_limit(const char *namespace) {
        uint64_t limit = LIMIT_BLOB_BYTES_PER_UID;
        if (!is_of_user(namespace))
                return UINT64_MAX;
        (void) string_to_uint64(getenv("CRT_CONTENT_BYTES_PER_USER"), INT64_MAX, &limit);
        return limit;
}

int content_namespace_room(ContentState *state, const char *namespace, uint64_t ingests, uint64_t *ret) {
        uint64_t limit = content_namespace_limit(namespace);
        NamespaceUsage usage = { 0 };
        int r = limit == UINT64_MAX ? 0 : content_namespace_usage(state, namespace, &usage);
        if (r < 0)
                return r;
        uint64_t taken = usage.bytes + ingests;
        *ret = limit == UINT64_MAX ? limit : taken < limit ? limit - taken : 0;
        return 0;
}
