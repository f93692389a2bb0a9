/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/content/content-namespace.h"

#include <errno.h>

#include "lib/limits.h"
#include "lib/strv.h"

int content_namespace_usage(ContentState *state, const char *namespace, NamespaceUsage *ret) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        int r = database_query(state->database, &rows,
                               "SELECT blobs, bytes, shareable, label_bytes, lease_bytes FROM namespaces"
                               " WHERE namespace = ?",
                               "s", namespace);
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
                        .label_bytes = (uint64_t) database_rows_int64(&rows, 3),
                        .lease_bytes = (uint64_t) database_rows_int64(&rows, 4),
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

uint64_t content_namespace_limit(const ContentState *state, const char *namespace) {
        return is_of_user(namespace) ? state->bytes_per_user : UINT64_MAX;
}

/* ---- what lists are made of ---- */

static const struct {
        uint64_t each, all;
        const char *what;
} shares[_NAMESPACE_SHARE_MAX] = {
        [NAMESPACE_BLOBS] = { LIMIT_BLOBS_PER_UID, LIMIT_BLOBS, "blobs" },
        [NAMESPACE_LABELS] = { LIMIT_LABEL_BYTES_PER_UID, LIMIT_LABEL_BYTES, "bytes of labels" },
        [NAMESPACE_LEASES] = { LIMIT_LEASE_BYTES_PER_UID, LIMIT_LEASE_BYTES, "bytes of what leases name" },
};

uint64_t content_namespace_share_limit(const char *namespace, NamespaceShare share) {
        assert(share >= 0 && share < _NAMESPACE_SHARE_MAX);
        return is_of_user(namespace) ? shares[share].each : UINT64_MAX;
}

static uint64_t taken(const NamespaceUsage *usage, NamespaceShare share) {
        return share == NAMESPACE_BLOBS    ? usage->blobs
               : share == NAMESPACE_LABELS ? usage->label_bytes
                                           : usage->lease_bytes;
}

/* There are as many rows as users, and namespaces of root. */
static int taken_by_users(ContentState *state, NamespaceShare share, uint64_t *ret) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        uint64_t sum = 0;
        int r = database_query(state->database, &rows,
                               "SELECT namespace, blobs, label_bytes, lease_bytes FROM namespaces", "");
        while (r >= 0 && (r = database_rows_next(&rows)) > 0)
                if (is_of_user(database_rows_string(&rows, 0)))
                        sum += (uint64_t) database_rows_int64(&rows, 1 + (int) share);
        *ret = sum;
        return r;
}

int content_namespace_check(ContentState *state, const char *namespace, NamespaceShare share, uint64_t more,
                            Fault *fault) {
        NamespaceUsage usage;
        uint64_t all = 0;
        if (!is_of_user(namespace))
                return 0;
        int r = content_namespace_usage(state, namespace, &usage);
        if (r >= 0)
                r = taken_by_users(state, share, &all);
        if (r < 0)
                return r;
        if (taken(&usage, share) + more > shares[share].each)
                return fault_set(fault, -EDQUOT, "the namespace %s may have %llu %s, and not more",
                                 namespace, (unsigned long long) shares[share].each, shares[share].what);
        return all + more <= shares[share].all
                       ? 0
                       : fault_set(fault, -EDQUOT, "the namespaces of all users may have %llu %s together",
                                   (unsigned long long) shares[share].all, shares[share].what);
}

int content_namespace_room(ContentState *state, const char *namespace, uint64_t ingests, uint64_t *ret) {
        uint64_t limit = content_namespace_limit(state, namespace);
        NamespaceUsage usage = { 0 };
        int r = limit == UINT64_MAX ? 0 : content_namespace_usage(state, namespace, &usage);
        if (r < 0)
                return r;
        uint64_t taken = usage.bytes + ingests;
        *ret = limit == UINT64_MAX ? limit : taken < limit ? limit - taken : 0;
        return 0;
}
