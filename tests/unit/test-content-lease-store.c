/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/content/lease-store.h"

#include "lib/limits.h"
#include "lib/record-file.h"
#include "lib/strv.h"
#include "services/content/collect-content.h"
#include "services/content/content-labels.h"
#include "tests/unit/content-samples.h"

#define LABELS(...) ((char **) (const char *[]){ __VA_ARGS__, NULL })
#define DAY (UINT64_C(24) * 3600 * 1000000)
#define DIGEST "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/* Freed by lease_done(). */
static Lease sample_lease(const char *namespace, const char *id) {
        return (Lease){ .namespace = strdup(namespace), .id = strdup(id), .uid = 1000 };
}

static void add(ContentState *state, Lease *lease) {
        CHECK_OK(lease_add(state, lease, NULL, /* limited= */ false, NULL));
}

static void leases_are_found_as_they_were_made(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("found");
        _cleanup_(lease_done) Lease lease = sample_lease("one", "l"), found = { 0 }, none = { 0 };
        lease.flat = true;
        lease.until = content_now() + DAY;
        lease.binding = LEASE_BOUND_UNIT;
        lease.owner = strdup("a.service");
        lease.proof = strdup("0123");
        CHECK_OK(lease_add(state, &lease, LABELS("a=b"), true, NULL));
        CHECK_OK(lease_find(state, "one", "l", &found));
        CHECK_INT(found.number, lease.number);
        CHECK_INT(found.until, lease.until);
        CHECK_INT(found.created, lease.created);
        CHECK(found.flat);
        CHECK_INT(found.binding, LEASE_BOUND_UNIT);
        CHECK_STRING(found.owner, "a.service");
        CHECK_STRING(found.proof, "0123");
        CHECK_INT(found.uid, 1000);
        CHECK_ERROR(lease_find(state, "two", "l", &none), -ENOENT);
        CHECK_OK(lease_remove(state, &found));
        CHECK_ERROR(lease_find(state, "one", "l", &none), -ENOENT);
}

static void an_id_is_taken_once_in_a_namespace(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("taken");
        _cleanup_(lease_done) Lease first = sample_lease("one", "l"), second = sample_lease("one", "l"),
                                    other = sample_lease("two", "l");
        add(state, &first);
        CHECK_ERROR(lease_add(state, &second, NULL, false, NULL), -EEXIST);
        add(state, &other);
}

static void what_is_over_is_gone(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("over");
        _cleanup_(lease_done) Lease lease = sample_lease("one", "l"), again = sample_lease("one", "l"),
                                    found = { 0 };
        const LeaseResource image = { LEASE_IMAGE, "debian" };
        uint64_t deadline;
        add(state, &lease);
        CHECK_OK(lease_next_deadline(state, &deadline));
        CHECK_INT(deadline, 0);
        CHECK_OK(lease_add_resources(state, &lease, &image, 1, NULL));
        CHECK_INT(lease_holds(state, "one", &image), 1);
        CHECK_INT(lease_holds(state, "two", &image), 0);
        CHECK_OK(lease_update(state, &lease, &(LeaseChange){ .has_until = true, .until = 1 }, NULL));
        CHECK_OK(lease_next_deadline(state, &deadline));
        CHECK_INT(deadline, 1);
        CHECK_INT(lease_holds(state, "one", &image), 0);
        CHECK_ERROR(lease_find(state, "one", "l", &found), -ENOENT);
        CHECK_ERROR(lease_take(state, "one", "l", &image, NULL), -ENOENT);
        add(state, &again);
        CHECK_OK(lease_find(state, "one", "l", &found));
        CHECK(found.number != lease.number);
        CHECK_INT(lease_holds(state, "one", &image), 0);
}

/* What the record says, and what was asked of it. */
static void check_until(ContentState *state, const Lease *lease, uint64_t expected) {
        _cleanup_(lease_done) Lease found = { 0 };
        CHECK_OK(lease_find_number(state, lease->number, &found));
        CHECK_INT(found.until, expected);
        CHECK_INT(lease->until, expected);
}

static void a_label_ends_a_lease(void) {
        static const char early[] = "org.crt.gc.expire=2100-01-01T00:00:00Z",
                          late[] = "org.crt.gc.expire=2200-01-01T00:00:00Z";
        const uint64_t year_2100 = UINT64_C(4102444800000000), year_2200 = UINT64_C(7258118400000000);
        const uint64_t between = year_2100 + DAY;
        _cleanup_(content_state_freep) ContentState *state = sample_state("label-ends");
        _cleanup_(lease_done) Lease lease = sample_lease("one", "l"), found = { 0 };
        CHECK_OK(lease_add(state, &lease, LABELS(early), false, NULL));
        check_until(state, &lease, year_2100);
        CHECK_OK(lease_update(state, &lease, &(LeaseChange){ .has_until = true, .until = between }, NULL));
        check_until(state, &lease, year_2100);
        CHECK_OK(lease_update(state, &lease, &(LeaseChange){ .labels = LABELS(late) }, NULL));
        check_until(state, &lease, between);
        CHECK_OK(lease_update(state, &lease, &(LeaseChange){ .has_until = true }, NULL));
        check_until(state, &lease, year_2200);
        CHECK_OK(lease_update(state, &lease, &(LeaseChange){ .labels = LABELS("a=1") }, NULL));
        check_until(state, &lease, year_2200);
        CHECK_OK(
                lease_update(state, &lease, &(LeaseChange){ .labels = LABELS("org.crt.gc.expire=") }, NULL));
        check_until(state, &lease, 0);
        CHECK_OK(lease_update(state, &lease, &(LeaseChange){ .labels = LABELS(early) }, NULL));
        CHECK_OK(lease_update(state, &lease, &(LeaseChange){ .replace_labels = true }, NULL));
        check_until(state, &lease, 0);
        CHECK_OK(lease_update(state, &lease,
                              &(LeaseChange){ .labels = LABELS("org.crt.gc.expire=1970-01-01T00:00:00Z") },
                              NULL));
        check_until(state, &lease, 1);
        CHECK_ERROR(lease_find(state, "one", "l", &found), -ENOENT);
}

static void a_user_has_a_share(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("share");
        content_state_relax(state);
        for (int i = 0; i < LIMIT_LEASES_PER_UID; i++) {
                char id[16];
                (void) snprintf(id, sizeof(id), "l%i", i);
                _cleanup_(lease_done) Lease lease = sample_lease("one", id);
                CHECK_OK(lease_add(state, &lease, NULL, true, NULL));
        }
        _cleanup_(lease_done) Lease more = sample_lease("one", "more"),
                                    others = sample_lease("one", "others");
        CHECK_ERROR(lease_add(state, &more, NULL, true, NULL), -EDQUOT);
        others.uid = 1001;
        CHECK_OK(lease_add(state, &others, NULL, true, NULL));
        CHECK_OK(lease_add(state, &more, NULL, false, NULL));
}

static int count(const LeaseResource *resource, void *userdata) {
        ++*(int *) userdata;
        return 0;
}

static void resources_are_added_all_or_none(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("resources");
        _cleanup_(lease_done) Lease lease = sample_lease("one", "l");
        const LeaseResource good[] = { { LEASE_CONTENT, DIGEST },
                                       { LEASE_INGEST, "an ingest" },
                                       { LEASE_IMAGE, "docker.io/library/debian:latest" },
                                       { LEASE_SNAPSHOT, "sha256:0" } };
        const LeaseResource bad[] = { { LEASE_IMAGE, "other" }, { LEASE_CONTENT, "no digest" } };
        const LeaseResource unknown = { "thing", "x" };
        int n = 0;
        add(state, &lease);
        CHECK_OK(lease_add_resources(state, &lease, good, ELEMENTS_OF(good), NULL));
        CHECK_OK(lease_add_resources(state, &lease, good, ELEMENTS_OF(good), NULL));
        CHECK_ERROR(lease_add_resources(state, &lease, bad, ELEMENTS_OF(bad), NULL), -EINVAL);
        CHECK_ERROR(lease_add_resources(state, &lease, &unknown, 1, NULL), -EINVAL);
        CHECK_INT(lease_visit_resources(state, &lease, NULL, count, &n), 0);
        CHECK_INT(n, 4);
        n = 0;
        CHECK_INT(lease_visit_resources(state, &lease, &good[2], count, &n), 0);
        CHECK_INT(n, 2); /* ingest, snapshot */
        CHECK_OK(lease_remove_resources(state, &lease, good, 2));
        CHECK_OK(lease_remove_resources(state, &lease, &unknown, 1));
        n = 0;
        CHECK_INT(lease_visit_resources(state, &lease, NULL, count, &n), 0);
        CHECK_INT(n, 2);
}

/* So many images, from that number on. */
static int add_images(ContentState *state, const Lease *lease, int first, int count) {
        _cleanup_free_ LeaseResource *resources = new0(LeaseResource, (size_t) count);
        _cleanup_free_ char *names = calloc((size_t) count, 16);
        CHECK(resources && names);
        for (int i = 0; i < count; i++) {
                (void) snprintf(names + 16 * i, 16, "i%06i", first + i);
                resources[i] = (LeaseResource){ LEASE_IMAGE, names + 16 * i };
        }
        return lease_add_resources(state, lease, resources, (size_t) count, NULL);
}

static void what_all_leases_of_a_user_name_is_bounded(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("bounded");
        int leases = LIMIT_LEASE_RESOURCES_PER_UID / LIMIT_LEASE_RESOURCES;
        const LeaseResource first = { LEASE_IMAGE, "i000000" };
        content_state_relax(state);
        for (int i = 0; i < leases; i++) {
                char id[16];
                (void) snprintf(id, sizeof(id), "l%i", i);
                _cleanup_(lease_done) Lease lease = sample_lease("one", id);
                add(state, &lease);
                CHECK_OK(add_images(state, &lease, 0, LIMIT_LEASE_RESOURCES));
                CHECK_ERROR(add_images(state, &lease, LIMIT_LEASE_RESOURCES, 1), -EDQUOT);
                CHECK_OK(lease_remove_resources(state, &lease, &first, 1));
                CHECK_OK(add_images(state, &lease, 0, 1));
                CHECK_OK(add_images(state, &lease, 0, 1)); /* it names that already */
        }
        _cleanup_(lease_done) Lease more = sample_lease("one", "more"),
                                    others = sample_lease("one", "others"),
                                    root = sample_lease("one", "root"), found = { 0 };
        add(state, &more);
        CHECK_ERROR(add_images(state, &more, 0, 1), -EDQUOT);
        others.uid = 1001;
        add(state, &others);
        CHECK_OK(add_images(state, &others, 0, 1));
        root.uid = 0;
        add(state, &root);
        CHECK_OK(add_images(state, &root, 0, 1));
        CHECK_OK(lease_find(state, "one", "l0", &found));
        CHECK_OK(lease_remove(state, &found));
        CHECK_OK(add_images(state, &more, 0, 1));
}

static unsigned count_listed(int fd, const char *kind, const char *lease) {
        RecordFile file = RECORD_FILE_NULL;
        RecordField fields[RECORD_FIELDS_MAX];
        unsigned n = 0;
        CHECK_OK(record_file_open(fd, &file));
        while (record_file_next(&file, fields) > 0)
                n += record_field_equal(&fields[0], kind) && record_field_equal(&fields[2], lease);
        record_file_done(&file);
        return n;
}

static void many_things_are_listed_in_steps(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("inventory");
        _cleanup_(lease_done) Lease first = sample_lease("one", "first"), over = sample_lease("one", "over"),
                                    last = sample_lease("one", "last");
        const LeaseResource snapshot = { LEASE_SNAPSHOT, "i000000" };
        _cleanup_(content_inventory_freep) ContentInventory *inventory = NULL;
        _cleanup_(record_writer_freep) RecordWriter *writer = NULL;
        unsigned steps = 0;
        int r;
        add(state, &first);
        add(state, &over);
        add(state, &last);
        CHECK_OK(add_images(state, &first, 0, 700));
        CHECK_OK(lease_add_resources(state, &first, &snapshot, 1, NULL));
        CHECK_OK(add_images(state, &over, 0, 300));
        CHECK_OK(add_images(state, &last, 0, 300));
        CHECK_OK(lease_update(state, &over, &(LeaseChange){ .has_until = true, .until = 1 }, NULL));
        CHECK_OK(content_inventory_new(state, false, &inventory));
        CHECK_OK(record_writer_new("test", &writer));
        while ((r = content_inventory_step(inventory, writer)) > 0)
                steps++;
        CHECK_OK(r);
        CHECK_INT(steps, 6 + 1001 / 256);
        _cleanup_close_ int fd = record_writer_finish(writer);
        CHECK_OK(fd);
        CHECK_INT(count_listed(fd, "resource", "first"), 701);
        CHECK_INT(count_listed(fd, "resource", "over"), 0);
        CHECK_INT(count_listed(fd, "resource", "last"), 300);
        CHECK_INT(count_listed(fd, "lease", "last"), 1);
}

/* No step writes more than a page of records. */
static void all_lists_come_in_pages(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("pages");
        _cleanup_(content_inventory_freep) ContentInventory *inventory = NULL;
        _cleanup_(record_writer_freep) RecordWriter *writer = NULL;
        size_t before = 0;
        int r;
        CHECK_OK(database_begin(state->database));
        for (int64_t i = 0; i < 600; i++) {
                CHECK_OK(database_execute(state->database,
                                          "INSERT INTO leases (namespace, id, created, until, flat, "
                                          "binding, owner, proof, uid)"
                                          " VALUES ('one', 'l' || ?, 1, 0, 0, '', '', '', 0)",
                                          "i", i));
                CHECK_OK(database_execute(
                        state->database,
                        "INSERT INTO labels VALUES (1, 'one', 'l' || ?1, 'org.crt.gc.root', 'yes'),"
                        " (0, 'one', 'b' || ?1, 'org.crt.gc.root', 'yes')",
                        "i", i));
                CHECK_OK(database_execute(state->database,
                                          "INSERT INTO ingests (namespace, reference, digest, size, started,"
                                          " touched, uid) VALUES ('one', 'r' || ?, 'sha256', -1, ?, ?2, 0)",
                                          "ii", i, (int64_t) content_now()));
        }
        CHECK_OK(database_commit(state->database));
        CHECK_OK(content_inventory_new(state, true, &inventory));
        CHECK_OK(record_writer_new("test", &writer));
        while ((r = content_inventory_step(inventory, writer)) > 0) {
                CHECK(record_writer_size(writer) - before <= 256 * 50);
                before = record_writer_size(writer);
        }
        CHECK_OK(r);
        _cleanup_close_ int fd = record_writer_finish(writer);
        unsigned kinds[3] = { 0 };
        RecordFile file;
        RecordField fields[RECORD_FIELDS_MAX];
        CHECK_OK(record_file_open(fd, &file));
        while (record_file_next(&file, fields) > 0) {
                kinds[0] += record_field_equal(&fields[0], "lease");
                kinds[1] += record_field_equal(&fields[0], "label");
                kinds[2] += record_field_equal(&fields[0], "ingest");
        }
        record_file_done(&file);
        CHECK(kinds[0] == 600 && kinds[1] == 1200 && kinds[2] == 600);
}

static void note(void *userdata) {
        ++*(int *) userdata;
}

static void what_keeps_more_is_told(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("changes");
        _cleanup_(lease_done) Lease lease = sample_lease("one", "l");
        const LeaseResource snapshot = { LEASE_SNAPSHOT, "tree" };
        int changes = 0;
        add(state, &lease);
        state->changed = note;
        state->touched_userdata = &changes;
        CHECK_OK(lease_add_resources(state, &lease, &snapshot, 1, NULL));
        CHECK_INT(changes, 1);
        CHECK_OK(lease_add_resources(state, &lease, &snapshot, 1, NULL));
        CHECK_OK(lease_remove_resources(state, &lease, &snapshot, 1));
        CHECK_INT(changes, 1);
        CHECK_OK(lease_update(state, &lease, &(LeaseChange){ .labels = LABELS("a=1") }, NULL));
        CHECK_INT(changes, 1);
        CHECK_OK(lease_update(state, &lease, &(LeaseChange){ .labels = LABELS("org.crt.gc.root=1") }, NULL));
        CHECK_INT(changes, 2);
        CHECK_OK(lease_update(state, &lease, &(LeaseChange){ .labels = LABELS("org.crt.gc.root=") }, NULL));
        CHECK_INT(changes, 2);
}

static void what_is_over_goes_by_and_by(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("expired");
        Lease expired[LEASES_PER_TURN];
        int r, total = 0;
        for (int i = 0; i < LEASES_PER_TURN + 3; i++) {
                char id[16];
                (void) snprintf(id, sizeof(id), "l%i", i);
                _cleanup_(lease_done) Lease lease = sample_lease("one", id);
                lease.until = i == 0 ? 0 : (uint64_t) i;
                add(state, &lease);
        }
        CHECK_INT(lease_count_of(state, 1000), LEASES_PER_TURN + 3);
        while ((r = lease_remove_expired(state, content_now(), expired)) > 0) {
                CHECK(total > 0 || r == LEASES_PER_TURN);
                total += r;
                for (int i = 0; i < r; i++)
                        lease_done(&expired[i]);
        }
        CHECK_OK(r);
        CHECK_INT(total, LEASES_PER_TURN + 2);
        CHECK_INT(lease_count_of(state, 1000), 1);
}

static int find_thing(const LeasedThing *thing, void *userdata) {
        CHECK_STRING(thing->namespace, "one");
        CHECK_STRING(thing->resource.type, LEASE_CONTENT);
        CHECK_STRING(thing->resource.name, userdata);
        CHECK(thing->flat);
        return 1;
}

static void touched_by(const char *namespace, const Digest *digest, void *userdata) {
        ++*(int *) userdata;
}

static void a_lease_of_an_ingest_becomes_one_of_its_blob(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("follow");
        _cleanup_(lease_done) Lease lease = sample_lease("one", "l"), other = sample_lease("two", "l");
        _cleanup_(ingest_record_done) IngestRecord record = sample_record("one", "r");
        const LeaseResource resource = { LEASE_INGEST, "r" };
        Digest digest = sample_digest("bytes");
        char text[DIGEST_STRING_MAX];
        int touched = 0;
        state->touched = touched_by;
        state->touched_userdata = &touched;
        lease.flat = true;
        add(state, &lease);
        add(state, &other);
        CHECK_OK(ingest_record_add(state, &record, LABELS("a=1", "b=2"), NULL));
        CHECK_OK(lease_take(state, "one", "l", &resource, NULL));
        CHECK_OK(lease_take(state, "two", "l", &resource, NULL));
        CHECK_OK(ingest_record_commit(
                state, &record,
                &(IngestBlob){
                        .digest = &digest, .size = 5, .placed = true, .labels = LABELS("b=3", "c=4") },
                NULL));
        CHECK_INT(touched, 1);
        CHECK_INT(lease_holds(state, "one", &resource), 0);
        CHECK_INT(lease_holds(state, "two", &resource), 1);
        CHECK_OK(lease_remove(state, &other));
        CHECK_INT(lease_visit_things(state, find_thing, (void *) digest_to_string(&digest, text)), 1);

        _cleanup_strv_ char **labels = NULL;
        CHECK_OK(content_labels_read(state, &(Labelled){ LABELLED_BLOB, "one", text }, &labels));
        CHECK_INT(strv_length(labels), 3);
        CHECK_STRING(labels[1], "b=3");
}

static void labels_go_with_their_lease(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("lease-labels");
        _cleanup_(lease_done) Lease lease = sample_lease("one", "l"), again = sample_lease("one", "l");
        _cleanup_strv_ char **labels = NULL;
        CHECK_OK(lease_add(state, &lease, LABELS("a=1"), false, NULL));
        CHECK_OK(lease_remove(state, &lease));
        add(state, &again);
        CHECK_OK(content_labels_read(state, &(Labelled){ LABELLED_LEASE, "one", "l" }, &labels));
        CHECK(!labels);
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(leases_are_found_as_they_were_made),
                CHECK_CASE(an_id_is_taken_once_in_a_namespace),
                CHECK_CASE(what_is_over_is_gone),
                CHECK_CASE(a_label_ends_a_lease),
                CHECK_CASE(a_user_has_a_share),
                CHECK_CASE(resources_are_added_all_or_none),
                CHECK_CASE(what_all_leases_of_a_user_name_is_bounded),
                CHECK_CASE(many_things_are_listed_in_steps),
                CHECK_CASE(all_lists_come_in_pages),
                CHECK_CASE(what_keeps_more_is_told),
                CHECK_CASE(what_is_over_goes_by_and_by),
                CHECK_CASE(a_lease_of_an_ingest_becomes_one_of_its_blob),
                CHECK_CASE(labels_go_with_their_lease),
                {},
        });
}
