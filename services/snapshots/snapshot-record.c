/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/snapshot-record.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/database.h"
#include "lib/strv.h"

static const char *const kind_names[_SNAPSHOT_KIND_MAX] = {
        [SNAPSHOT_ACTIVE] = "active",
        [SNAPSHOT_VIEW] = "view",
        [SNAPSHOT_COMMITTED] = "committed",
};

const char *snapshot_kind_to_string(SnapshotKind kind) {
        assert(kind >= 0 && kind < _SNAPSHOT_KIND_MAX);
        return kind_names[kind];
}

static const char *const state_names[_SNAPSHOT_STATE_MAX] = {
        [SNAPSHOT_PREPARED] = "ready",    [SNAPSHOT_UNPACKING] = "unpacking",
        [SNAPSHOT_UNPACKED] = "unpacked", [SNAPSHOT_FAILED] = "failed",
        [SNAPSHOT_LOST] = "lost",         [SNAPSHOT_DAMAGED] = "damaged",
        [SNAPSHOT_FILLING] = "preparing",
};

const char *snapshot_state_to_string(const Snapshot *snapshot) {
        assert(snapshot->state >= 0 && snapshot->state < _SNAPSHOT_STATE_MAX);
        if (snapshot->kind == SNAPSHOT_COMMITTED && snapshot->state == SNAPSHOT_UNPACKED)
                return state_names[SNAPSHOT_PREPARED];
        return state_names[snapshot->state];
}

void snapshot_done(Snapshot *snapshot) {
        free(snapshot->namespace);
        free(snapshot->key);
        free(snapshot->parent);
        free(snapshot->diff_id);
        strv_free(snapshot->labels);
        free(snapshot->damage);
        free(snapshot->bound);
        *snapshot = (Snapshot){ 0 };
}

int snapshot_measure_parse(const char *text, int64_t *ret_id, SnapshotMeasure *ret) {
        SnapshotMeasure measure = { 0 };
        Digest digest;
        int64_t id;
        int end = 0;
        if (sscanf(text, "%" SCNi64 " %" SCNu64 " %" SCNu64 " %n", &id, &measure.size, &measure.inodes,
                   &end) < 3 ||
            end == 0 || id <= 0)
                return -EINVAL;
        if (text[end] && digest_parse(text + end, &digest) < 0)
                return -EINVAL;
        (void) snprintf(measure.manifest, sizeof(measure.manifest), "%s", text + end);
        *ret_id = id;
        *ret = measure;
        return 0;
}

/* ---- rows ---- */

static int column_copy(const DatabaseRows *rows, int column, char **ret) {
        const char *text = database_rows_string(rows, column);
        *ret = text ? strdup(text) : NULL;
        return text && !*ret ? -ENOMEM : 0;
}

/* Damage to the database is no reason to read beyond it. */
static int column_labels(const DatabaseRows *rows, int column, char ***ret) {
        size_t size = 0;
        const char *data = database_rows_blob(rows, column, &size);
        if (size > 0 && data[size - 1] != '\0')
                return -EUCLEAN;
        for (const char *p = data; size > 0 && p < data + size; p += strlen(p) + 1) {
                int r = strchr(p, '=') ? strv_append(ret, p) : -EUCLEAN;
                if (r < 0)
                        return r;
        }
        return 0;
}

static void column_measure(const DatabaseRows *rows, int column, Snapshot *ret) {
        const char *manifest = database_rows_string(rows, column + 2);
        ret->measured = database_rows_string(rows, column) != NULL;
        ret->measure.size = (uint64_t) database_rows_int64(rows, column);
        ret->measure.inodes = (uint64_t) database_rows_int64(rows, column + 1);
        (void) snprintf(ret->measure.manifest, sizeof(ret->measure.manifest), "%s", manifest ?: "");
}

static int columns_copy(const DatabaseRows *rows, Snapshot *ret) {
        const struct {
                int column;
                char **place;
        } texts[] = {
                { 1, &ret->namespace }, { 2, &ret->key },    { 4, &ret->parent },
                { 8, &ret->diff_id },   { 13, &ret->bound }, { 16, &ret->damage },
        };
        for (size_t i = 0; i < ELEMENTS_OF(texts); i++)
                if (column_copy(rows, texts[i].column, texts[i].place) < 0)
                        return -ENOMEM;
        return column_labels(rows, 15, &ret->labels);
}

int snapshot_from_row(const DatabaseRows *rows, Snapshot *ret) {
        _cleanup_(snapshot_done) Snapshot snapshot = {
                .id = database_rows_int64(rows, 0),
                .parent_id = database_rows_int64(rows, 3),
                .kind = (SnapshotKind) database_rows_int64(rows, 5),
                .state = (SnapshotState) database_rows_int64(rows, 6),
                .mounted = (SnapshotMounted) database_rows_int64(rows, 7),
                .created = (uint64_t) database_rows_int64(rows, 9),
                .uid = (uid_t) database_rows_int64(rows, 10),
                .driver = (SnapshotDriverKind) database_rows_int64(rows, 11),
                .size_max = (uint64_t) database_rows_int64(rows, 12),
                .updated = (uint64_t) database_rows_int64(rows, 14),
        };
        if (snapshot.kind < 0 || snapshot.kind >= _SNAPSHOT_KIND_MAX || snapshot.state < 0 ||
            snapshot.state >= _SNAPSHOT_STATE_MAX || snapshot.driver < 0 ||
            snapshot.driver >= _SNAPSHOT_DRIVER_KIND_MAX)
                return -EUCLEAN;
        int r = columns_copy(rows, &snapshot);
        if (r < 0)
                return r;
        column_measure(rows, 17, &snapshot);
        *ret = TAKE(snapshot, (Snapshot){ 0 });
        return 0;
}

int snapshot_pack_labels(char *const *labels, char **ret, size_t *ret_size) {
        size_t size = strv_size(labels), at = 0;
        *ret = size > 0 ? malloc(size) : NULL;
        *ret_size = size;
        if (size > 0 && !*ret)
                return -ENOMEM;
        for (; labels && *labels; labels++) {
                size_t length = strlen(*labels) + 1;
                memcpy(*ret + at, *labels, length);
                at += length;
        }
        return 0;
}
