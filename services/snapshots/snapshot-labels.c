/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <string.h>

#include "lib/label.h"
#include "lib/limits.h"
#include "lib/strv.h"
#include "services/snapshots/snapshot-store-private.h"

/* What one takes in a collection's list (collect-snapshots.c) besides itself: the names of the snapshot,
 * which a commit may make longer, and of its namespace. */
#define LISTED_LABEL 352

uint64_t snapshot_labels_bytes(char *const *labels) {
        uint64_t bytes = 0;
        for (; labels && *labels; labels++)
                bytes += strlen(*labels) + (label_is_collected(*labels) ? LISTED_LABEL : 0);
        return bytes;
}

typedef struct LabelBytes {
        uint64_t own, all;
} LabelBytes;

static int read_bytes(SnapshotStore *store, uid_t uid, LabelBytes *ret) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        LabelBytes bytes = { 0 };
        int r = database_query(
                store->database, &rows,
                "SELECT uid, sum(label_bytes) FROM snapshots WHERE label_bytes > 0 GROUP BY uid", "");
        while (r >= 0 && (r = database_rows_next(&rows)) > 0) {
                uid_t of = (uid_t) database_rows_int64(&rows, 0);
                uint64_t sum = (uint64_t) database_rows_int64(&rows, 1);
                bytes.all += store->is_limited(of) ? sum : 0;
                bytes.own += of == uid ? sum : 0;
        }
        *ret = bytes;
        return r;
}

void snapshot_store_limit_labels(SnapshotStore *store, bool (*is_limited)(uid_t uid)) {
        store->is_limited = is_limited;
}

int snapshot_labels_check(SnapshotStore *store, uid_t uid, Fault *fault) {
        LabelBytes bytes;
        if (!store->is_limited || !store->is_limited(uid))
                return 0;
        int r = read_bytes(store, uid, &bytes);
        if (r < 0)
                return r;
        if (bytes.own > LIMIT_LABEL_BYTES_PER_UID)
                return fault_set(fault, -EDQUOT, "your snapshots may have %u bytes of labels, and not more",
                                 LIMIT_LABEL_BYTES_PER_UID);
        return bytes.all <= LIMIT_LABEL_BYTES
                       ? 0
                       : fault_set(fault, -EDQUOT,
                                   "the snapshots of all users may have %u bytes of labels together",
                                   LIMIT_LABEL_BYTES);
}
