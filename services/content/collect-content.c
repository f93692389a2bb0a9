/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/content/collect-content.h"

#include <errno.h>
#include <string.h>

#include "lib/digest.h"
#include "lib/identifier.h"
#include "lib/label.h"
#include "lib/limits.h"
#include "lib/strv.h"
#include "services/content/blob-store.h"
#include "services/content/content-labels.h"
#include "services/content/ingest-store.h"
#include "services/content/lease-store.h"

#define PAGE 256

typedef struct InventoryStep {
        int (*run)(ContentInventory *inventory, RecordWriter *writer);
        bool all; /* of things that are no roots */
} InventoryStep;

struct ContentInventory {
        ContentState *state; /* weak */
        bool roots;
        size_t step;
        RecordWriter *writer;                        /* weak, within a step */
        char namespace[LIMIT_IDENTIFIER_LENGTH + 1]; /* the blob that was listed last */
        char digest[DIGEST_STRING_MAX];
        int64_t lease; /* and the thing that a lease names */
        char type[16];
        char name[LIMIT_REFERENCE_LENGTH + 1];
};

int content_inventory_new(ContentState *state, bool roots, ContentInventory **ret) {
        ContentInventory *inventory = new0(ContentInventory, 1);
        if (!inventory)
                return -ENOMEM;
        inventory->state = state;
        inventory->roots = roots;
        *ret = inventory;
        return 0;
}

ContentInventory *content_inventory_free(ContentInventory *inventory) {
        free(inventory);
        return NULL;
}

/* ---- what there is ---- */

static int copy_text(char *to, size_t size, const char *from) {
        size_t length = strlen(from);
        if (length >= size)
                return -EUCLEAN;
        memcpy(to, from, length + 1);
        return 0;
}

/* "blob", namespace, digest, stamp, bytes */
static int list_blobs(ContentInventory *inventory, RecordWriter *writer) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        unsigned count = 0;
        int r = database_query(inventory->state->database, &rows,
                               "SELECT namespace, digest, max(created, updated), size"
                               " FROM namespace_blobs JOIN blobs USING (digest)"
                               " WHERE (namespace, digest) > (?, ?) ORDER BY namespace, digest LIMIT ?",
                               "ssi", inventory->namespace, inventory->digest, (int64_t) PAGE);
        while (r >= 0 && (r = database_rows_next(&rows)) > 0) {
                const char *namespace = database_rows_string(&rows, 0),
                           *digest = database_rows_string(&rows, 1);
                r = record_writer_add(writer, "sssuu", "blob", namespace, digest,
                                      (uint64_t) database_rows_int64(&rows, 2),
                                      (uint64_t) database_rows_int64(&rows, 3));
                if (r >= 0)
                        r = copy_text(inventory->namespace, sizeof(inventory->namespace), namespace);
                if (r >= 0)
                        r = copy_text(inventory->digest, sizeof(inventory->digest), digest);
                count++;
        }
        return r < 0 ? r : count == PAGE;
}

/* "label", what has it, namespace, its name, key, value */
static int add_label(const Labelled *labelled, const char *key, const char *value, void *userdata) {
        static const char *const kinds[] = {
                [LABELLED_BLOB] = "blob",
                [LABELLED_LEASE] = "lease",
                [LABELLED_INGEST] = "ingest",
        };
        const ContentInventory *inventory = userdata;
        return record_writer_add(inventory->writer, "ssssss", "label", kinds[labelled->kind],
                                 labelled->namespace, labelled->object, key, value);
}

static int list_labels(ContentInventory *inventory, RecordWriter *writer) {
        int r = 0;
        inventory->writer = writer;
        for (LabelledKind kind = LABELLED_BLOB; r >= 0 && kind <= LABELLED_INGEST; kind++)
                r = content_labels_visit_reserved(inventory->state, kind, add_label, inventory);
        return r < 0 ? r : 0;
}

/* "lease", namespace, id, "flat" or "" */
static int list_leases(ContentInventory *inventory, RecordWriter *writer) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        int r = database_query(inventory->state->database, &rows,
                               "SELECT namespace, id, flat FROM leases WHERE until = 0 OR until > ?", "i",
                               (int64_t) content_now());
        while (r >= 0 && (r = database_rows_next(&rows)) > 0)
                r = record_writer_add(writer, "ssss", "lease", database_rows_string(&rows, 0),
                                      database_rows_string(&rows, 1),
                                      database_rows_int64(&rows, 2) ? "flat" : "");
        return r < 0 ? r : 0;
}

/* "resource", namespace, lease, type, name */
static int list_resources(ContentInventory *inventory, RecordWriter *writer) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        unsigned count = 0;
        int r = database_query(
                inventory->state->database, &rows,
                "SELECT l.namespace, l.id, r.type, r.name, r.lease FROM lease_resources r"
                " JOIN leases l ON l.number = r.lease"
                " WHERE (r.lease, r.type, r.name) > (?, ?, ?) AND (l.until = 0 OR l.until > ?)"
                " ORDER BY r.lease, r.type, r.name LIMIT ?",
                "issii", inventory->lease, inventory->type, inventory->name, (int64_t) content_now(),
                (int64_t) PAGE);
        while (r >= 0 && (r = database_rows_next(&rows)) > 0) {
                const char *type = database_rows_string(&rows, 2), *name = database_rows_string(&rows, 3);
                r = record_writer_add(writer, "sssss", "resource", database_rows_string(&rows, 0),
                                      database_rows_string(&rows, 1), type, name);
                inventory->lease = database_rows_int64(&rows, 4);
                if (r >= 0)
                        r = copy_text(inventory->type, sizeof(inventory->type), type);
                if (r >= 0)
                        r = copy_text(inventory->name, sizeof(inventory->name), name);
                count++;
        }
        return r < 0 ? r : count == PAGE;
}

/* "ingest", namespace, reference, digest or "" */
static int add_ingest(IngestRecord *record, void *userdata) {
        const ContentInventory *inventory = userdata;
        char digest[DIGEST_STRING_MAX];
        if (ingest_record_is_expired(record, content_now()))
                return 0;
        return record_writer_add(inventory->writer, "ssss", "ingest", record->namespace, record->reference,
                                 record->has_digest ? digest_to_string(&record->digest, digest) : NULL);
}

static int list_ingests(ContentInventory *inventory, RecordWriter *writer) {
        inventory->writer = writer;
        int r = ingest_record_visit_all(inventory->state, add_ingest, inventory);
        return r < 0 ? r : 0;
}

/* Things first: what is made later is not listed, and so cannot be found to be garbage; what keeps things is
 * listed when all that may be garbage is known. */
int content_inventory_step(ContentInventory *inventory, RecordWriter *writer) {
        static const InventoryStep steps[] = {
                { list_blobs, .all = true }, { list_labels },  { list_leases },
                { list_resources },          { list_ingests },
        };
        const InventoryStep *step = &steps[inventory->step];
        int r = step->all && inventory->roots ? 0 : step->run(inventory, writer);
        if (r != 0)
                return r;
        inventory->step++;
        return inventory->step < ELEMENTS_OF(steps);
}

/* ---- what goes ---- */

static int is_root(ContentState *state, const char *namespace, const char *digest) {
        _cleanup_strv_ char **labels = NULL;
        const Labelled blob = { LABELLED_BLOB, namespace, digest };
        uint64_t time;
        int r = content_labels_read(state, &blob, &labels);
        if (r < 0)
                return r;
        const char *expire = strv_get_environment((const char *const *) labels, LABEL_GC_EXPIRE);
        if (string_is_empty(strv_get_environment((const char *const *) labels, LABEL_GC_ROOT)))
                return 0;
        return !expire || label_parse_time(expire, &time) < 0 || time > content_now();
}

/* 1 and how many bytes go with it. */
static int is_garbage(ContentState *state, const char *namespace, const char *digest, uint64_t stamp,
                      uint64_t *ret_bytes) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        int r = database_query(
                state->database, &rows,
                "SELECT size, (SELECT count(*) FROM namespace_blobs o WHERE o.digest = n.digest)"
                " FROM namespace_blobs n JOIN blobs USING (digest)"
                " WHERE n.namespace = ?1 AND n.digest = ?2 AND max(n.created, n.updated) = ?3"
                " AND NOT EXISTS (SELECT 1 FROM lease_resources r JOIN leases l ON l.number = r.lease"
                "  WHERE r.name = ?2 AND r.type = '" LEASE_CONTENT "' AND l.namespace = ?1"
                "  AND (l.until = 0 OR l.until > ?4))"
                " AND NOT EXISTS (SELECT 1 FROM ingests WHERE namespace = ?1 AND digest = ?2)",
                "ssii", namespace, digest, (int64_t) stamp, (int64_t) content_now());
        if (r >= 0)
                r = database_rows_next(&rows);
        if (r > 0)
                *ret_bytes =
                        database_rows_int64(&rows, 1) > 1 ? 0 : (uint64_t) database_rows_int64(&rows, 0);
        return r;
}

int content_sweep(ContentState *state, const RecordField *namespace, const RecordField *digest,
                  const RecordField *stamp, uint64_t *ret_bytes) {
        _cleanup_free_ char *namespace_text = record_field_copy(namespace);
        _cleanup_free_ char *digest_text = record_field_copy(digest);
        Digest value;
        uint64_t number;

        if (!namespace_text || !digest_text)
                return -ENOMEM;
        if (!identifier_is_valid(namespace_text) || digest_parse(digest_text, &value) < 0 ||
            record_field_number(stamp, &number) < 0)
                return -EBADMSG;
        int r = is_root(state, namespace_text, digest_text);
        if (r != 0)
                return r < 0 ? r : 0;
        r = is_garbage(state, namespace_text, digest_text, number, ret_bytes);
        if (r <= 0)
                return r;
        /* Synced, as any removal: after a power cut no record may be there whose file has gone. */
        r = blob_delete(state, namespace_text, &value);
        return r < 0 ? r : 1;
}
