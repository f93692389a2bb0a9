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

/* What one blob of a user takes at most: "blob", "u4294967295", a SHA-512, time, size. All that users may
 * have leaves a quarter for what is root's. */
#define BLOB_LINE 192
static_assert((size_t) LIMIT_BLOBS * BLOB_LINE + LIMIT_LABEL_BYTES + LIMIT_LEASE_BYTES <=
                      RECORD_FILE_MAX / 4 * 3,
              "a list can carry what users may have");

typedef struct InventoryStep {
        int (*run)(ContentInventory *inventory, RecordWriter *writer);
        bool all; /* of things that are no roots */
        LabelledKind kind;
} InventoryStep;

/* Where a list goes on: what was listed last. */
typedef struct InventoryPlace {
        int64_t number;
        char *namespace, *object, *key;
} InventoryPlace;

struct ContentInventory {
        ContentState *state; /* weak */
        bool roots;
        const InventoryStep *step; /* weak */
        RecordWriter *writer;      /* weak, within a step */
        InventoryPlace place;
};

static void place_done(InventoryPlace *place) {
        free(place->namespace);
        free(place->object);
        free(place->key);
        *place = (InventoryPlace){ 0 };
}

static int place_set(InventoryPlace *place, const char *namespace, const char *object, const char *key) {
        place_done(place);
        place->namespace = strdup(namespace);
        place->object = strdup(object);
        place->key = strdup(key);
        return place->namespace && place->object && place->key ? 0 : -ENOMEM;
}

static const char *or_empty(const char *text) {
        return text ? text : "";
}

/* ---- what there is ---- */

/* "blob", namespace, digest, stamp, bytes */
static int list_blobs(ContentInventory *inventory, RecordWriter *writer) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        InventoryPlace *place = &inventory->place;
        unsigned count = 0;
        int r = database_query(inventory->state->database, &rows,
                               "SELECT namespace, digest, max(created, updated, granted), size"
                               " FROM namespace_blobs JOIN blobs USING (digest)"
                               " WHERE (namespace, digest) > (?, ?) ORDER BY namespace, digest LIMIT ?",
                               "ssi", or_empty(place->namespace), or_empty(place->object), (int64_t) PAGE);
        while (r >= 0 && (r = database_rows_next(&rows)) > 0) {
                const char *namespace = database_rows_string(&rows, 0),
                           *digest = database_rows_string(&rows, 1);
                r = record_writer_add(writer, "sssuu", "blob", namespace, digest,
                                      (uint64_t) database_rows_int64(&rows, 2),
                                      (uint64_t) database_rows_int64(&rows, 3));
                if (r >= 0 && ++count == PAGE)
                        r = place_set(place, namespace, digest, "");
        }
        return r < 0 ? r : count == PAGE;
}

/* "label", what has it, namespace, its name, key, value */
static int add_label(const LabelPlace *label, const char *value, void *userdata) {
        static const char *const kinds[] = {
                [LABELLED_BLOB] = "blob",
                [LABELLED_LEASE] = "lease",
                [LABELLED_INGEST] = "ingest",
        };
        ContentInventory *inventory = userdata;
        const Labelled *labelled = &label->labelled;
        const char *key = label_collected_key(label->key);
        int r = key ? record_writer_add(inventory->writer, "ssssss", "label", kinds[labelled->kind],
                                        labelled->namespace, labelled->object, key, value)
                    : 0;
        return r < 0 ? r : place_set(&inventory->place, labelled->namespace, labelled->object, label->key);
}

static int list_labels(ContentInventory *inventory, RecordWriter *writer) {
        _cleanup_(place_done) InventoryPlace place = TAKE(inventory->place, (InventoryPlace){ 0 });
        const LabelPlace after = {
                .labelled = { inventory->step->kind, place.namespace, place.object },
                .key = place.key,
        };
        inventory->writer = writer;
        return content_labels_visit_reserved(inventory->state, inventory->step->kind,
                                             place.object ? &after : NULL, PAGE, add_label, inventory);
}

/* "lease", namespace, id, "flat" or "" */
static int list_leases(ContentInventory *inventory, RecordWriter *writer) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        unsigned count = 0;
        int r = database_query(inventory->state->database, &rows,
                               "SELECT namespace, id, flat, number FROM leases"
                               " WHERE (until = 0 OR until > ?) AND number > ? ORDER BY number LIMIT ?",
                               "iii", (int64_t) content_now(), inventory->place.number, (int64_t) PAGE);
        while (r >= 0 && (r = database_rows_next(&rows)) > 0) {
                r = record_writer_add(writer, "ssss", "lease", database_rows_string(&rows, 0),
                                      database_rows_string(&rows, 1),
                                      database_rows_int64(&rows, 2) ? "flat" : "");
                inventory->place.number = database_rows_int64(&rows, 3);
                count++;
        }
        return r < 0 ? r : count == PAGE;
}

/* "resource", namespace, lease, type, name */
static int list_resources(ContentInventory *inventory, RecordWriter *writer) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        InventoryPlace *place = &inventory->place;
        unsigned count = 0;
        int r = database_query(
                inventory->state->database, &rows,
                "SELECT l.namespace, l.id, r.type, r.name, r.lease FROM lease_resources r"
                " JOIN leases l ON l.number = r.lease"
                " WHERE (r.lease, r.type, r.name) > (?, ?, ?) AND (l.until = 0 OR l.until > ?)"
                " ORDER BY r.lease, r.type, r.name LIMIT ?",
                "issii", place->number, or_empty(place->key), or_empty(place->object),
                (int64_t) content_now(), (int64_t) PAGE);
        while (r >= 0 && (r = database_rows_next(&rows)) > 0) {
                const char *type = database_rows_string(&rows, 2), *name = database_rows_string(&rows, 3);
                r = record_writer_add(writer, "sssss", "resource", database_rows_string(&rows, 0),
                                      database_rows_string(&rows, 1), type, name);
                if (r >= 0 && ++count == PAGE) {
                        int64_t number = database_rows_int64(&rows, 4);
                        r = place_set(place, "", name, type);
                        place->number = number;
                }
        }
        return r < 0 ? r : count == PAGE;
}

/* "ingest", namespace, reference, digest or "" */
static int add_ingest(IngestRecord *record, void *userdata) {
        ContentInventory *inventory = userdata;
        char digest[DIGEST_STRING_MAX];
        inventory->place.number = (int64_t) record->number;
        if (ingest_record_is_expired(record, content_now()))
                return 0;
        return record_writer_add(inventory->writer, "ssss", "ingest", record->namespace, record->reference,
                                 record->has_digest ? digest_to_string(&record->digest, digest) : NULL);
}

static int list_ingests(ContentInventory *inventory, RecordWriter *writer) {
        inventory->writer = writer;
        return ingest_record_visit(inventory->state, (uint64_t) inventory->place.number, PAGE, add_ingest,
                                   inventory);
}

/* Things first: what is made later is not listed, and so cannot be found to be garbage; what keeps things is
 * listed when all that may be garbage is known. */
static const InventoryStep steps[] = {
        { list_blobs, .all = true },
        { list_labels, .kind = LABELLED_BLOB },
        { list_labels, .kind = LABELLED_LEASE },
        { list_labels, .kind = LABELLED_INGEST },
        { list_leases },
        { list_resources },
        { list_ingests },
        {},
};

int content_inventory_new(ContentState *state, bool roots, ContentInventory **ret) {
        ContentInventory *inventory = new0(ContentInventory, 1);
        if (!inventory)
                return -ENOMEM;
        *inventory = (ContentInventory){ .state = state, .roots = roots, .step = steps };
        *ret = inventory;
        return 0;
}

ContentInventory *content_inventory_free(ContentInventory *inventory) {
        if (!inventory)
                return NULL;
        place_done(&inventory->place);
        free(inventory);
        return NULL;
}

int content_inventory_step(ContentInventory *inventory, RecordWriter *writer) {
        const InventoryStep *step = inventory->step;
        int r = step->all && inventory->roots ? 0 : step->run(inventory, writer);
        if (r != 0)
                return r;
        place_done(&inventory->place);
        inventory->step++;
        return inventory->step->run != NULL;
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

/* 1 if nothing that is known here keeps it. */
static int is_garbage(ContentState *state, const char *namespace, const char *digest, uint64_t stamp) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        int r = database_query(
                state->database, &rows,
                "SELECT 1 FROM namespace_blobs n"
                " WHERE n.namespace = ?1 AND n.digest = ?2"
                " AND (max(n.created, n.updated, n.granted) = ?3 OR ?3 = 0)"
                " AND NOT EXISTS (SELECT 1 FROM lease_resources r"
                "  JOIN leases l ON l.number = r.lease"
                "  WHERE r.name = ?2 AND r.type = '" LEASE_CONTENT "' AND l.namespace = ?1"
                "  AND (l.until = 0 OR l.until > ?4))"
                " AND NOT EXISTS (SELECT 1 FROM ingests WHERE namespace = ?1 AND digest = ?2)",
                "ssii", namespace, digest, (int64_t) stamp, (int64_t) content_now());
        return r < 0 ? r : database_rows_next(&rows);
}

struct ContentSweep {
        ContentState *state; /* weak */
        BlobToDelete *blobs;
        size_t count, allocated;
};

int content_sweep_new(ContentState *state, ContentSweep **ret) {
        ContentSweep *sweep = new0(ContentSweep, 1);
        if (!sweep)
                return -ENOMEM;
        sweep->state = state;
        *ret = sweep;
        return 0;
}

static void forget(ContentSweep *sweep) {
        while (sweep->count > 0)
                free(sweep->blobs[--sweep->count].namespace);
}

ContentSweep *content_sweep_free(ContentSweep *sweep) {
        if (!sweep)
                return NULL;
        forget(sweep);
        free(sweep->blobs);
        free(sweep);
        return NULL;
}

static int append(ContentSweep *sweep, const Digest *digest, char **namespace) {
        if (sweep->count == sweep->allocated) {
                size_t more = MAX_OF(sweep->allocated * 2, (size_t) 16);
                BlobToDelete *larger = reallocarray(sweep->blobs, more, sizeof(BlobToDelete));
                if (!larger)
                        return -ENOMEM;
                sweep->blobs = larger;
                sweep->allocated = more;
        }
        sweep->blobs[sweep->count++] =
                (BlobToDelete){ .namespace = TAKE_PTR(*namespace), .digest = *digest };
        return 0;
}

int content_sweep_add(ContentSweep *sweep, const RecordField *namespace, const RecordField *digest,
                      const RecordField *stamp) {
        _cleanup_free_ char *namespace_text = record_field_copy(namespace);
        _cleanup_free_ char *digest_text = record_field_copy(digest);
        Digest value;
        uint64_t number;

        if (!namespace_text || !digest_text)
                return -ENOMEM;
        if (!identifier_is_valid(namespace_text) || digest_parse(digest_text, &value) < 0 ||
            record_field_number(stamp, &number) < 0)
                return -EBADMSG;
        int r = is_root(sweep->state, namespace_text, digest_text);
        if (r != 0)
                return r < 0 ? r : 0;
        r = is_garbage(sweep->state, namespace_text, digest_text, number);
        return r <= 0 ? r : append(sweep, &value, &namespace_text);
}

int content_sweep_commit(ContentSweep *sweep, uint32_t *ret_gone, uint64_t *ret_bytes) {
        int r = sweep->count == 0
                        ? 0
                        : blob_delete_many(sweep->state, sweep->blobs, sweep->count, ret_gone, ret_bytes);
        forget(sweep);
        return r;
}
