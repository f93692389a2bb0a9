/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/limits.h"
#include "lib/record-file.h"
#include "lib/strv.h"
#include "services/content/collect-content.h"
#include "services/content/content-labels.h"
#include "services/content/content-namespace.h"
#include "services/content/lease-store.h"
#include "tests/unit/content-samples.h"

#define USER "u1000"
#define OTHER_USER "u1001"
#define LABELS(...) ((char **) (const char *[]){ __VA_ARGS__, NULL })
#define DIGEST "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static NamespaceUsage usage_of(ContentState *state, const char *namespace) {
        NamespaceUsage usage;
        CHECK_OK(content_namespace_usage(state, namespace, &usage));
        return usage;
}

static void add_lease(ContentState *state, const char *namespace, const char *id, Lease *ret) {
        *ret = (Lease){ .namespace = strdup(namespace), .id = strdup(id), .uid = 1000 };
        CHECK_OK(lease_add(state, ret, NULL, /* limited= */ true, NULL));
}

/* As many and as long ones as one thing may have, each of which keeps something. */
static char **full_labels(void) {
        char **labels = NULL;
        for (int i = 0; i < LIMIT_LABELS_PER_OBJECT; i++)
                CHECK_OK(strv_appendf(&labels, "org.crt.gc.ref.content.%03i%03900i=" DIGEST, i, 0));
        return labels;
}

static int label_blob(ContentState *state, const char *namespace, int i, char *const *labels) {
        char text[16];
        (void) snprintf(text, sizeof(text), "%i", i);
        Digest digest = sample_blob(state, namespace, text);
        return blob_update(state, namespace, &digest, labels, false, NULL);
}

static void labels_of_a_user_are_bounded(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("labels");
        _cleanup_strv_ char **labels = full_labels();
        _cleanup_(lease_done) Lease lease = { 0 }, second = { 0 };
        _cleanup_(ingest_record_done) IngestRecord record = sample_record(USER, "r");
        Digest first = sample_digest("0");
        int full = 0;
        content_state_relax(state);
        while (full < 8 && label_blob(state, USER, full, labels) >= 0)
                full++;
        CHECK_INT(full, 4);
        CHECK_ERROR(label_blob(state, USER, 4, labels), -EDQUOT);
        CHECK(usage_of(state, USER).label_bytes <= LIMIT_LABEL_BYTES_PER_UID);
        CHECK_OK(label_blob(state, OTHER_USER, 4, labels));
        for (int i = 0; i < 6; i++)
                CHECK_OK(label_blob(state, "system", i, labels));

        add_lease(state, USER, "l", &lease);
        CHECK_ERROR(lease_update(state, &lease, &(LeaseChange){ .labels = labels }, NULL), -EDQUOT);
        CHECK_ERROR(ingest_record_add(state, &record, labels, NULL), -EDQUOT);
        second = (Lease){ .namespace = strdup(USER), .id = strdup("second"), .uid = 1000 };
        CHECK_ERROR(lease_add(state, &second, labels, true, NULL), -EDQUOT);

        /* What is less, or not more, is never refused. */
        CHECK_OK(blob_update(state, USER, &first, LABELS("a=1"), true, NULL));
        CHECK_OK(lease_update(state, &lease, &(LeaseChange){ .labels = labels }, NULL));
        CHECK_OK(lease_update(state, &lease, &(LeaseChange){ .labels = labels }, NULL));
}

static void labels_of_an_ingest_count_once(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("once");
        _cleanup_strv_ char **labels = full_labels();
        _cleanup_(ingest_record_done) IngestRecord record = sample_record(USER, "r");
        Digest digest = sample_digest("bytes");
        for (int i = 0; i < 3; i++)
                CHECK_OK(label_blob(state, USER, i, labels));
        CHECK_OK(ingest_record_add(state, &record, labels, NULL));
        CHECK_OK(ingest_record_commit(state, &record,
                                      &(IngestBlob){ .digest = &digest, .size = 5, .placed = true }, NULL));
        CHECK_ERROR(label_blob(state, USER, 4, labels), -EDQUOT);
}

static void set_bytes(ContentState *state, const char *namespace, uint64_t labels, uint64_t leases) {
        CHECK_OK(database_execute(state->database,
                                  "INSERT INTO namespaces (namespace, label_bytes, lease_bytes)"
                                  " VALUES (?, ?, ?)",
                                  "sii", namespace, (int64_t) labels, (int64_t) leases));
}

static void all_users_have_a_share_together(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("together");
        _cleanup_(lease_done) Lease lease = { 0 }, roots = { 0 };
        const LeaseResource image = { LEASE_IMAGE, "name" };
        add_lease(state, USER, "l", &lease);
        CHECK_OK(lease_update(state, &lease, &(LeaseChange){ .labels = LABELS("a=1") }, NULL));
        set_bytes(state, "system", LIMIT_LABEL_BYTES, LIMIT_LEASE_BYTES);
        CHECK_OK(lease_update(state, &lease, &(LeaseChange){ .labels = LABELS("b=1") }, NULL));
        CHECK_OK(lease_add_resources(state, &lease, &image, 1, NULL));
        set_bytes(state, OTHER_USER, LIMIT_LABEL_BYTES, LIMIT_LEASE_BYTES);
        CHECK_ERROR(lease_update(state, &lease, &(LeaseChange){ .labels = LABELS("c=1") }, NULL), -EDQUOT);
        CHECK_ERROR(lease_add_resources(state, &lease, &(LeaseResource){ LEASE_IMAGE, "more" }, 1, NULL),
                    -EDQUOT);
        CHECK_OK(lease_add_resources(state, &lease, &image, 1, NULL));
        CHECK_OK(lease_update(state, &lease, &(LeaseChange){ .labels = LABELS("a=") }, NULL));
        CHECK_OK(lease_remove(state, &lease));
        add_lease(state, "system", "l", &roots);
        CHECK_OK(lease_add_resources(state, &roots, &image, 1, NULL));
}

#define NAME_SIZE ((size_t) 256)

/* So many snapshots with names of 255 bytes. */
static int name_snapshots(ContentState *state, const Lease *lease, int count) {
        _cleanup_free_ LeaseResource *resources = new0(LeaseResource, (size_t) count);
        _cleanup_free_ char *names = calloc((size_t) count, NAME_SIZE);
        CHECK(resources && names);
        for (int i = 0; i < count; i++) {
                char *name = names + NAME_SIZE * (size_t) i;
                memset(name, 'n', NAME_SIZE - 1);
                name[snprintf(name, NAME_SIZE, "%i", i)] = 'n';
                resources[i] = (LeaseResource){ LEASE_SNAPSHOT, name };
        }
        return lease_add_resources(state, lease, resources, (size_t) count, NULL);
}

static void names_in_leases_are_bounded(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("names");
        int r = 0, leases = 0;
        content_state_relax(state);
        for (; r >= 0 && leases < LIMIT_LEASE_RESOURCES_PER_UID / LIMIT_LEASE_RESOURCES; leases++) {
                char id[16];
                _cleanup_(lease_done) Lease lease = { 0 };
                (void) snprintf(id, sizeof(id), "l%i", leases);
                add_lease(state, USER, id, &lease);
                r = name_snapshots(state, &lease, LIMIT_LEASE_RESOURCES);
        }
        CHECK_INT(r, -EDQUOT);
        CHECK_INT(leases, 3);
        CHECK(usage_of(state, USER).lease_bytes <= LIMIT_LEASE_BYTES_PER_UID);
}

static void fill_with_blobs(ContentState *state, const char *namespace, int64_t count) {
        CHECK_OK(database_begin(state->database));
        CHECK_OK(database_execute(state->database,
                                  "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
                                  " WHERE i < ?) INSERT OR IGNORE INTO blobs (digest, size)"
                                  " SELECT format('sha512:%0128x', i), 1 FROM n",
                                  "i", count));
        CHECK_OK(database_execute(state->database,
                                  "INSERT INTO namespace_blobs (namespace, digest, created)"
                                  " SELECT ?, digest, 1700000000000000 FROM blobs"
                                  " WHERE digest LIKE 'sha512:%' LIMIT ?",
                                  "si", namespace, count));
        CHECK_OK(database_commit(state->database));
}

static void blobs_of_a_user_are_bounded(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("blobs");
        _cleanup_(ingest_record_done) IngestRecord record = sample_record(USER, "r"),
                                                   again = sample_record(USER, "again");
        content_state_relax(state);
        fill_with_blobs(state, USER, LIMIT_BLOBS_PER_UID - 1);
        Digest last = sample_blob(state, USER, "last"), more = sample_digest("more");
        const IngestBlob blob = { .digest = &more, .size = 4, .placed = true },
                         known = { .digest = &last, .size = 4 };
        CHECK_OK(ingest_record_add(state, &record, NULL, NULL));
        CHECK_ERROR(ingest_record_commit(state, &record, &blob, NULL), -EDQUOT);
        CHECK_OK(ingest_record_add(state, &again, NULL, NULL));
        CHECK_OK(ingest_record_commit(state, &again, &known, NULL));
        Digest shared = sample_blob(state, "system", "shared");
        CHECK_OK(content_namespace_share(state, "system", true));
        CHECK_ERROR(blob_grant_shared(state, USER, &shared, UINT64_MAX, NULL), -EDQUOT);
        CHECK_INT(usage_of(state, USER).blobs, LIMIT_BLOBS_PER_UID);
        CHECK_OK(blob_delete(state, USER, &last));
        CHECK_OK(ingest_record_commit(state, &record, &blob, NULL));
}

static size_t list_size(ContentState *state) {
        _cleanup_(content_inventory_freep) ContentInventory *inventory = NULL;
        _cleanup_(record_writer_freep) RecordWriter *writer = NULL;
        int r;
        CHECK_OK(content_inventory_new(state, false, &inventory));
        CHECK_OK(record_writer_new("test", &writer));
        while ((r = content_inventory_step(inventory, writer)) > 0)
                ;
        CHECK_OK(r);
        return record_writer_size(writer);
}

/* All that one may have is an eighth of what a list can carry, and what counts is at least what is listed.
 */
static void the_list_of_one_user_is_short(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("list");
        _cleanup_strv_ char **labels = full_labels();
        _cleanup_(lease_done) Lease lease = { 0 };
        size_t before, labelled, leased;
        content_state_relax(state);
        for (int i = 0; i < 4; i++)
                CHECK_OK(label_blob(state, USER, i, NULL));
        before = list_size(state);
        for (int i = 0; i < 4; i++)
                CHECK_OK(label_blob(state, USER, i, labels));
        labelled = list_size(state);
        CHECK(labelled > before && labelled - before <= usage_of(state, USER).label_bytes);
        add_lease(state, USER, "l", &lease);
        CHECK_OK(name_snapshots(state, &lease, LIMIT_LEASE_RESOURCES));
        leased = list_size(state) - strlen("lease\t" USER "\tl\t\n");
        CHECK_INT(leased - labelled, usage_of(state, USER).lease_bytes);
        fill_with_blobs(state, USER, LIMIT_BLOBS_PER_UID - 4);
        CHECK(list_size(state) < RECORD_FILE_MAX / 8);
}

static void what_goes_does_not_count_any_longer(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("gone");
        _cleanup_(lease_done) Lease lease = { 0 }, dropped = { 0 };
        const LeaseResource things[] = { { LEASE_IMAGE, "ä" }, { LEASE_INGEST, "r" } };
        _cleanup_(ingest_record_done) IngestRecord record = sample_record(USER, "r");
        CHECK_OK(label_blob(state, USER, 0, LABELS("ä=ö", "org.crt.gc.root=yes")));
        add_lease(state, USER, "l", &lease);
        add_lease(state, USER, "dropped", &dropped);
        CHECK_OK(lease_add_resources(state, &lease, things, 2, NULL));
        CHECK_OK(lease_add_resources(state, &dropped, things, 2, NULL));
        CHECK_OK(lease_update(state, &lease, &(LeaseChange){ .labels = LABELS("a=1") }, NULL));
        CHECK_OK(ingest_record_add(state, &record, LABELS("b=1"), NULL));
        CHECK(usage_of(state, USER).label_bytes > 1024 && usage_of(state, USER).lease_bytes > 0);

        Digest digest = sample_digest("0");
        CHECK_OK(blob_delete(state, USER, &digest));
        CHECK_OK(lease_remove_resources(state, &lease, things, 2));
        CHECK_OK(lease_remove(state, &lease));
        CHECK_OK(lease_remove(state, &dropped)); /* with what it names */
        CHECK_OK(ingest_record_remove(state, &record));
        CHECK_INT(usage_of(state, USER).label_bytes, 0);
        CHECK_INT(usage_of(state, USER).lease_bytes, 0);
        CHECK_INT(usage_of(state, USER).blobs, 0);
}

/* As an earlier version has left it. */
static void downgrade(ContentState *state) {
        static const char *const statements[] = {
                "DROP TRIGGER label_comes",
                "DROP TRIGGER label_goes",
                "DROP TRIGGER lease_comes",
                "DROP TRIGGER lease_goes",
                "DROP TRIGGER lease_changes",
                "DROP TRIGGER resource_comes",
                "DROP TRIGGER resource_goes",
                "ALTER TABLE namespace_blobs DROP COLUMN granted",
                "ALTER TABLE namespaces DROP COLUMN label_bytes",
                "ALTER TABLE namespaces DROP COLUMN lease_bytes",
                "ALTER TABLE leases DROP COLUMN bytes",
                "ALTER TABLE leases DROP COLUMN asked",
                "ALTER TABLE leases DROP COLUMN things",
                "ALTER TABLE leases DROP COLUMN object_bytes",
                "ALTER TABLE labels DROP COLUMN bytes",
                "ALTER TABLE lease_resources DROP COLUMN bytes",
                "DELETE FROM namespaces WHERE blobs = 0",
                "PRAGMA user_version = 2",
        };
        for (size_t i = 0; i < ELEMENTS_OF(statements); i++)
                CHECK_OK(database_execute(state->database, statements[i], ""));
}

static int things_of(const ContentState *state, const Lease *lease) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        CHECK_OK(database_query(state->database, &rows, "SELECT things FROM leases WHERE number = ?", "i",
                                lease->number));
        CHECK_INT(database_rows_next(&rows), 1);
        return (int) database_rows_int64(&rows, 0);
}

static void what_was_there_before_counts(void) {
        ContentState *state = sample_state("before");
        _cleanup_(lease_done) Lease lease = { 0 }, empty = { 0 };
        const LeaseResource things[] = { { LEASE_IMAGE, "ä" }, { LEASE_INGEST, "r" } };
        CHECK_OK(label_blob(state, USER, 0, LABELS("ä=ö", "org.crt.gc.root=yes")));
        add_lease(state, OTHER_USER, "l", &lease);
        add_lease(state, OTHER_USER, "empty", &empty);
        CHECK_OK(lease_add_resources(state, &lease, things, 2, NULL));
        NamespaceUsage before[] = { usage_of(state, USER), usage_of(state, OTHER_USER) };
        downgrade(state);
        content_state_free(state);

        state = sample_state("before");
        NamespaceUsage after[] = { usage_of(state, USER), usage_of(state, OTHER_USER) };
        for (size_t i = 0; i < 2; i++) {
                CHECK_INT(after[i].blobs, before[i].blobs);
                CHECK_INT(after[i].label_bytes, before[i].label_bytes);
                CHECK_INT(after[i].lease_bytes, before[i].lease_bytes);
        }
        CHECK_INT(things_of(state, &lease), 2);
        CHECK_OK(lease_remove(state, &lease));
        CHECK_OK(lease_remove(state, &empty));
        CHECK_INT(usage_of(state, OTHER_USER).label_bytes, 0);
        CHECK_INT(usage_of(state, OTHER_USER).lease_bytes, 0);
        content_state_free(state);
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(labels_of_a_user_are_bounded),
                CHECK_CASE(labels_of_an_ingest_count_once),
                CHECK_CASE(all_users_have_a_share_together),
                CHECK_CASE(names_in_leases_are_bounded),
                CHECK_CASE(blobs_of_a_user_are_bounded),
                CHECK_CASE(the_list_of_one_user_is_short),
                CHECK_CASE(what_goes_does_not_count_any_longer),
                CHECK_CASE(what_was_there_before_counts),
                {},
        });
}
