/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/strv.h"
#include "services/content/collect-content.h"
#include "services/content/content-labels.h"
#include "tests/unit/content-samples.h"

#define LABELS(...) ((char **) (const char *[]){ __VA_ARGS__, NULL })

static void shows_a_blob_where_it_was_paid_for(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("namespaces");
        Digest digest = sample_blob(state, "one", "bytes");
        Blob blob;
        CHECK_OK(blob_find(state, "one", &digest, &blob));
        CHECK_INT(blob.size, 5);
        CHECK(blob.created > UINT64_C(1600000000) * 1000000);
        CHECK_ERROR(blob_find(state, "two", &digest, &blob), -ENOENT);
        CHECK_ERROR(blob_open(state, "two", &digest, &blob), -ENOENT);
        CHECK_INT(blob_is_stored(state, &digest), 1);
}

static void opens_for_reading_only(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("open");
        Digest digest = sample_blob(state, "one", "bytes");
        Blob blob;
        char buffer[8] = "";
        _cleanup_close_ int fd = blob_open(state, "one", &digest, &blob);
        CHECK_OK(fd);
        CHECK_INT(fd_read_full(fd, buffer, sizeof(buffer)), 5);
        CHECK_STRING(buffer, "bytes");
        CHECK_ERROR(write(fd, "x", 1), -1);
}

static void bytes_go_with_the_last_namespace(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("delete");
        char path[256], hex[DIGEST_STRING_MAX];
        Digest digest = sample_blob(state, "one", "bytes");
        sample_blob(state, "two", "bytes");
        digest_to_hex(&digest, hex);
        (void) snprintf(path, sizeof(path), "sha256/%.2s/%s", hex, hex);

        CHECK(sample_exists(state->blobs, path));
        CHECK_OK(blob_delete(state, "one", &digest));
        CHECK_ERROR(blob_delete(state, "one", &digest), -ENOENT);
        CHECK(sample_exists(state->blobs, path));
        CHECK_OK(blob_delete(state, "two", &digest));
        CHECK(!sample_exists(state->blobs, path));
        CHECK_INT(blob_is_stored(state, &digest), 0);
}

typedef struct Seen {
        unsigned count, limit;
        Digest last;
        bool ordered;
} Seen;

static int see(const Blob *blob, void *userdata) {
        Seen *seen = userdata;
        if (seen->count > 0 && memcmp(seen->last.raw, blob->digest.raw, DIGEST_RAW_MAX) >= 0)
                seen->ordered = false;
        seen->last = blob->digest;
        return ++seen->count == seen->limit;
}

static void lists_in_order_and_goes_on_where_it_stopped(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("list");
        Seen seen = { .ordered = true, .limit = 4 };
        char after[DIGEST_STRING_MAX];
        for (int i = 0; i < 10; i++)
                sample_blob(state, "one", (const char[]){ (char) ('a' + i), '\0' });
        sample_blob(state, "two", "not listed");

        CHECK_INT(blob_visit(state, "one", "", see, &seen), 1);
        CHECK_INT(seen.count, 4);
        seen.limit = 8;
        CHECK_INT(blob_visit(state, "one", digest_to_string(&seen.last, after), see, &seen), 1);
        seen.limit = 20;
        CHECK_INT(blob_visit(state, "one", digest_to_string(&seen.last, after), see, &seen), 0);
        CHECK_INT(seen.count, 10);
        CHECK(seen.ordered);
        CHECK_INT(blob_visit(state, "nobody", "", see, &seen), 0);
        CHECK_INT(seen.count, 10);
}

static int fail(const Blob *blob, void *userdata) {
        return -ECANCELED;
}

static void a_list_ends_where_the_visitor_fails(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("fail");
        sample_blob(state, "one", "bytes");
        CHECK_ERROR(blob_visit(state, "one", "", fail, NULL), -ECANCELED);
}

static BlobPlacing place(ContentState *state, const Digest *digest) {
        BlobPlacing placing;
        CHECK_OK(blob_place(state, digest, state->ingests, "new", &placing));
        for (size_t i = 0; i < placing.count; i++)
                CHECK_OK(fsync(placing.directories[i]));
        return placing;
}

static void a_file_has_two_names_until_it_is_recorded(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("names");
        Digest digest = sample_digest("bytes");
        char text[5];

        sample_file(state->ingests, "new", "bytes");
        for (int i = 0; i < 2; i++) { /* the second time over what stands there */
                BlobPlacing placing = place(state, &digest);
                blob_placing_done(&placing);
                CHECK(sample_exists(state->ingests, "new"));
                CHECK_INT(blob_is_stored(state, &digest), 0);
        }
        CHECK_OK(blob_displace(state, &digest));
        CHECK(sample_exists(state->ingests, "new"));
        CHECK_ERROR(blob_open_file(state, &digest), -ENOENT);

        sample_place(state, &digest, "other");
        sample_file(state->ingests, "new", "bytes");
        BlobPlacing placing = place(state, &digest);
        blob_placing_done(&placing);
        _cleanup_close_ int fd = blob_open_file(state, &digest);
        CHECK_INT(read(fd, text, sizeof(text)), sizeof(text));
        CHECK(memcmp(text, "bytes", sizeof(text)) == 0);
}

/* Those above as well, until somebody has synced them after they were made, whoever made them. */
static void directories_are_given_until_they_are_synced(void) {
        ContentState *state = sample_state("directories");
        Digest digest = sample_digest("bytes");
        sample_file(state->ingests, "new", "bytes");

        BlobPlacing first = place(state, &digest), second = place(state, &digest);
        CHECK_INT(first.count, 3);
        CHECK_INT(second.count, 3);
        blob_note_synced(state, &second);
        blob_placing_done(&second);
        second = place(state, &digest);
        CHECK_INT(second.count, 1);
        blob_placing_done(&second);

        /* What was synced before one more was made says nothing of that one. */
        char text[2] = "a";
        Digest other = sample_digest(text);
        while (other.raw[0] == digest.raw[0]) {
                text[0]++;
                other = sample_digest(text);
        }
        BlobPlacing third = place(state, &other);
        CHECK_INT(third.count, 3);
        blob_placing_done(&third);
        blob_note_synced(state, &first);
        blob_placing_done(&first);
        third = place(state, &other);
        CHECK_INT(third.count, 3);
        blob_note_synced(state, &third);
        blob_placing_done(&third);
        content_state_free(state);

        /* The next process knows nothing of what this one has synced. */
        state = sample_state("directories");
        first = place(state, &digest);
        CHECK_INT(first.count, 3);
        blob_placing_done(&first);
        content_state_free(state);
}

static void placing_fails_without_leaving_descriptors(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("missing");
        Digest digest = sample_digest("bytes");
        BlobPlacing placing;
        int before = open("/dev/null", O_RDONLY | O_CLOEXEC);
        fd_close(before);
        CHECK_ERROR(blob_place(state, &digest, state->ingests, "not there", &placing), -ENOENT);
        _cleanup_close_ int after = open("/dev/null", O_RDONLY | O_CLOEXEC);
        CHECK_INT(after, before);
}

static void sweep_removes_what_has_no_record(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("sweep-files");
        Digest kept = sample_blob(state, "one", "kept"), left = sample_digest("left");
        Blob blob;

        sample_place(state, &left, "left");
        sample_file(state->blobs, "lost+found", "somebody else's");
        sample_sweep(state);
        CHECK_ERROR(blob_displace(state, &left), -ENOENT);
        _cleanup_close_ int fd = blob_open(state, "one", &kept, &blob);
        CHECK_OK(fd);
        CHECK(sample_exists(state->blobs, "lost+found"));
}

static void sweep_finds_what_has_no_file(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("sweep-records");
        Digest kept = sample_blob(state, "one", "kept"), lost = sample_blob(state, "one", "lost"),
               shorter = sample_blob(state, "two", "shorter");
        Blob blob;

        CHECK_OK(blob_displace(state, &lost));
        sample_place(state, &shorter, "sh");

        sample_sweep(state);
        CHECK_OK(blob_find(state, "one", &kept, &blob));
        CHECK_INT(blob.damaged, 0);
        CHECK_OK(blob_find(state, "one", &lost, &blob));
        CHECK(blob.damaged > 0);
        CHECK_ERROR(blob_open(state, "two", &shorter, &blob), -EUCLEAN);
        CHECK_INT(blob_is_stored(state, &lost), 0);
        CHECK_INT(blob_is_recorded(state, &lost), 1);
}

static bool is_placing(const Digest *digest, void *userdata) {
        return digest_equal(digest, userdata);
}

static void what_is_being_placed_is_left_alone(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("placing");
        Digest digest = sample_digest("bytes"), damaged = sample_blob(state, "one", "damaged");
        sample_place(state, &digest, "bytes");
        state->placing = is_placing;
        state->placing_userdata = &digest;
        sample_sweep(state);
        CHECK_OK(blob_displace(state, &digest));

        /* The record of damaged bytes may go while new ones come; these stay. */
        CHECK_OK(blob_mark_damaged(state, &damaged, "test"));
        state->placing_userdata = &damaged;
        CHECK_OK(blob_delete(state, "one", &damaged));
        CHECK_INT(blob_is_recorded(state, &damaged), 0);
        CHECK_OK(blob_displace(state, &damaged));
}

static void many_are_swept_in_steps(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("many");
        Digest last = { 0 };
        Blob blob;
        content_state_relax(state);
        for (int i = 0; i < 450; i++) {
                char text[16];
                (void) snprintf(text, sizeof(text), "%i", i);
                last = sample_blob(state, "one", text);
        }
        CHECK_OK(blob_displace(state, &last));
        sample_sweep(state);
        CHECK_OK(blob_find(state, "one", &last, &blob));
        CHECK(blob.damaged > 0);
}

static void damage_is_found_where_it_is_opened(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("damage");
        Digest lost = sample_blob(state, "one", "lost");
        Blob blob;
        sample_blob(state, "two", "lost");
        CHECK_OK(blob_displace(state, &lost));
        CHECK_ERROR(blob_open(state, "one", &lost, &blob), -EUCLEAN);
        CHECK_OK(blob_find(state, "two", &lost, &blob));
        CHECK(blob.damaged > 0);
        CHECK_INT(blob_mark_damaged(state, &lost, "again"), 0);

        /* Bytes that come again are right for all who have it. */
        Digest again = sample_blob(state, "three", "lost");
        CHECK(digest_equal(&again, &lost));
        int fd = blob_open(state, "two", &lost, &blob);
        CHECK_OK(fd);
        fd_close(fd);
}

static void what_is_stored_is_looked_at(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("looked-at");
        Digest lost = sample_blob(state, "one", "lost"), shorter = sample_blob(state, "one", "shorter"),
               kept = sample_blob(state, "one", "kept");
        Blob blob;
        CHECK_OK(blob_displace(state, &lost));
        sample_place(state, &shorter, "sh");
        CHECK_INT(blob_is_stored(state, &lost), 0);
        CHECK_INT(blob_is_stored(state, &shorter), 0);
        CHECK_INT(blob_is_stored(state, &kept), 1);
        CHECK_OK(blob_find(state, "one", &lost, &blob));
        CHECK(blob.damaged > 0);
        CHECK_OK(blob_record(state, &kept, 4, /* verity= */ true));
        CHECK_INT(blob_is_stored(state, &kept), 0);
}

static void fs_verity_that_was_there_is_required(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("verity");
        Digest digest = sample_blob(state, "one", "bytes");
        Blob blob;
        CHECK_OK(blob_record(state, &digest, 5, /* verity= */ true));
        CHECK_OK(blob_find(state, "one", &digest, &blob));
        CHECK(blob.verity);
        CHECK_ERROR(blob_open(state, "one", &digest, &blob), -EUCLEAN);
}

static mode_t mode_of(ContentState *state, const Digest *digest) {
        struct stat st;
        _cleanup_close_ int fd = blob_open_file(state, digest);
        CHECK(fd >= 0 && fstat(fd, &st) >= 0);
        return st.st_mode & 07777;
}

static void check_opened(ContentState *state, const Digest *digest) {
        Blob blob;
        int fd = blob_open(state, "one", digest, &blob);
        CHECK(fd >= 0);
        fd_close(fd);
}

static void one_seals_a_blob_at_a_time(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("sealing");
        Digest digest = sample_blob(state, "one", "bytes"), other = sample_blob(state, "one", "other");
        BlobSealing sealing, second;
        CHECK_OK(blob_begin_sealing(state, &sealing, &digest));
        CHECK_ERROR(blob_begin_sealing(state, &second, &digest), -EBUSY);
        CHECK_OK(blob_begin_sealing(state, &second, &other));
        check_opened(state, &digest);
        CHECK_INT(mode_of(state, &digest), 0644);
        blob_end_sealing(state, &sealing, true);
        CHECK_INT(mode_of(state, &digest), 0444);
        CHECK_INT(mode_of(state, &other), 0644);
        CHECK_OK(blob_begin_sealing(state, &sealing, &digest));
        blob_end_sealing(state, &second, true);
        blob_end_sealing(state, &sealing, true);
        CHECK(!state->sealing);
}

static void what_a_killed_service_left_writable_is_not_when_it_was_opened(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("writable");
        Digest digest = sample_blob(state, "one", "bytes");
        BlobSealing sealing;
        CHECK_OK(blob_begin_sealing(state, &sealing, &digest));
        state->sealing = NULL;
        check_opened(state, &digest);
        CHECK_INT(mode_of(state, &digest), 0444);
}

static void check_labels_of(ContentState *state, const char *namespace, const Digest *digest,
                            const char *expected) {
        _cleanup_strv_ char **labels = NULL;
        char text[DIGEST_STRING_MAX], joined[256] = "";
        const Labelled labelled = { LABELLED_BLOB, namespace, digest_to_string(digest, text) };
        CHECK_OK(content_labels_read(state, &labelled, &labels));
        STRV_FOREACH (label, labels) {
                strcat(joined, label);
                strcat(joined, " ");
        }
        CHECK_STRING(joined, expected);
}

static void labels_are_of_one_namespace(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("labels");
        Digest digest = sample_blob(state, "one", "bytes");
        Blob before, after;
        sample_blob(state, "two", "bytes");
        CHECK_OK(blob_find(state, "one", &digest, &before));
        CHECK_OK(blob_update(state, "one", &digest, LABELS("b=2", "a=1"), false, NULL));
        CHECK_OK(blob_update(state, "one", &digest, LABELS("b="), false, NULL));
        CHECK_OK(blob_find(state, "one", &digest, &after));
        CHECK_INT(after.created, before.created);
        CHECK(after.updated > before.updated);
        check_labels_of(state, "one", &digest, "a=1 ");
        check_labels_of(state, "two", &digest, "");
        CHECK_ERROR(blob_update(state, "three", &digest, LABELS("b=2"), false, NULL), -ENOENT);
        CHECK_ERROR(blob_update(state, "one", &digest, LABELS("org.crt.x=2"), false, NULL), -EINVAL);
        CHECK_OK(blob_update(state, "one", &digest, LABELS("c=3"), true, NULL));
        check_labels_of(state, "one", &digest, "c=3 ");

        CHECK_OK(blob_delete(state, "one", &digest));
        sample_blob(state, "one", "bytes");
        check_labels_of(state, "one", &digest, "");
}

static int count_reserved(const LabelPlace *label, const char *value, void *userdata) {
        CHECK_STRING(label->labelled.namespace, "one");
        CHECK_STRING(label->key, "org.crt.gc.root");
        CHECK_STRING(value, "yes");
        ++*(int *) userdata;
        return 0;
}

static void reserved_labels_are_found(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("reserved");
        Digest one = sample_blob(state, "one", "one"), two = sample_blob(state, "one", "two");
        int count = 0;
        CHECK_OK(blob_update(state, "one", &one, LABELS("a=1", "org.crt.gc.root=yes", "z=2"), false, NULL));
        CHECK_OK(blob_update(state, "one", &two, LABELS("org.crtx=1"), false, NULL));
        CHECK_OK(content_labels_visit_reserved(state, LABELLED_BLOB, NULL, 10, count_reserved, &count));
        CHECK_INT(count, 1);
        CHECK_OK(content_labels_visit_reserved(state, LABELLED_LEASE, NULL, 10, count_reserved, &count));
        CHECK_INT(count, 1);
}

static void only_what_is_shared_is_granted(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("shared");
        Digest digest = sample_blob(state, "one", "bytes"), none = sample_digest("none");
        Blob blob;
        CHECK_INT(blob_grant_shared(state, "two", &digest, 5, NULL), 0);
        CHECK_INT(blob_grant_shared(state, "two", &none, 5, NULL), 0);
        CHECK_ERROR(blob_find(state, "two", &digest, &blob), -ENOENT);
        CHECK_OK(blob_update(state, "one", &digest, LABELS(LABEL_SHAREABLE "=yes"), false, NULL));
        CHECK_ERROR(blob_grant_shared(state, "two", &digest, 4, NULL), -EDQUOT);
        CHECK_ERROR(blob_find(state, "two", &digest, &blob), -ENOENT);
        CHECK_INT(blob_grant_shared(state, "two", &digest, 5, NULL), 1);
        CHECK_OK(blob_find(state, "two", &digest, &blob));
        check_labels_of(state, "two", &digest, "");

        CHECK_OK(blob_mark_damaged(state, &digest, "test"));
        CHECK_INT(blob_grant_shared(state, "three", &digest, 5, NULL), 0);
        CHECK_OK(blob_record(state, &digest, 5, false));
        CHECK_OK(blob_update(state, "one", &digest, NULL, true, NULL));
        CHECK_INT(blob_grant_shared(state, "three", &digest, 5, NULL), 0);
}

/* As Images hands it back; how many went. */
static uint32_t collect(ContentState *state, const Digest *digest, uint64_t stamp) {
        _cleanup_(content_sweep_freep) ContentSweep *sweep = NULL;
        char text[DIGEST_STRING_MAX], number[24];
        uint32_t gone = 0;
        uint64_t bytes;
        (void) snprintf(number, sizeof(number), "%llu", (unsigned long long) stamp);
        digest_to_string(digest, text);
        CHECK_OK(content_sweep_new(state, &sweep));
        CHECK_OK(content_sweep_add(sweep, &(RecordField){ "one", 3 }, &(RecordField){ text, strlen(text) },
                                   &(RecordField){ number, strlen(number) }));
        CHECK_OK(content_sweep_commit(sweep, &gone, &bytes));
        return gone;
}

/* What the inventory says of the one blob that there is. */
static uint64_t read_stamp(ContentState *state) {
        _cleanup_(content_inventory_freep) ContentInventory *inventory = NULL;
        _cleanup_(record_writer_freep) RecordWriter *writer = NULL;
        RecordField fields[RECORD_FIELDS_MAX];
        RecordFile file = RECORD_FILE_NULL;
        uint64_t stamp;
        CHECK_OK(content_inventory_new(state, false, &inventory));
        CHECK_OK(record_writer_new("test", &writer));
        while (content_inventory_step(inventory, writer) > 0)
                ;
        _cleanup_close_ int fd = record_writer_finish(writer);
        CHECK_OK(record_file_open(fd, &file));
        CHECK_INT(record_file_next(&file, fields), 1);
        CHECK(record_field_equal(&fields[0], "blob"));
        CHECK_OK(record_field_number(&fields[3], &stamp));
        record_file_done(&file);
        return stamp;
}

static void what_is_sent_again_is_young_again(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("young");
        Digest digest = sample_blob(state, "one", "bytes");
        Blob blob, again;
        CHECK_OK(blob_find(state, "one", &digest, &blob));
        uint64_t first = read_stamp(state);
        CHECK_INT(first, blob.created);
        CHECK_INT(blob_grant(state, "one", &digest), 0);
        uint64_t second = read_stamp(state);
        CHECK(second > first);
        blob_renew(state, "one", &digest);
        uint64_t third = read_stamp(state);
        CHECK(third > second);
        CHECK_INT(collect(state, &digest, first), 0);
        CHECK_INT(collect(state, &digest, second), 0);
        /* Nobody learns from that when somebody else asked for it. */
        CHECK_OK(blob_find(state, "one", &digest, &again));
        CHECK_INT(again.created, blob.created);
        CHECK_INT(again.updated, blob.updated);
        CHECK_INT(collect(state, &digest, third), 1);
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(shows_a_blob_where_it_was_paid_for),
                CHECK_CASE(opens_for_reading_only),
                CHECK_CASE(bytes_go_with_the_last_namespace),
                CHECK_CASE(lists_in_order_and_goes_on_where_it_stopped),
                CHECK_CASE(a_list_ends_where_the_visitor_fails),
                CHECK_CASE(a_file_has_two_names_until_it_is_recorded),
                CHECK_CASE(directories_are_given_until_they_are_synced),
                CHECK_CASE(placing_fails_without_leaving_descriptors),
                CHECK_CASE(sweep_removes_what_has_no_record),
                CHECK_CASE(sweep_finds_what_has_no_file),
                CHECK_CASE(what_is_being_placed_is_left_alone),
                CHECK_CASE(many_are_swept_in_steps),
                CHECK_CASE(damage_is_found_where_it_is_opened),
                CHECK_CASE(what_is_stored_is_looked_at),
                CHECK_CASE(fs_verity_that_was_there_is_required),
                CHECK_CASE(one_seals_a_blob_at_a_time),
                CHECK_CASE(what_a_killed_service_left_writable_is_not_when_it_was_opened),
                CHECK_CASE(labels_are_of_one_namespace),
                CHECK_CASE(reserved_labels_are_found),
                CHECK_CASE(only_what_is_shared_is_granted),
                CHECK_CASE(what_is_sent_again_is_young_again),
                {},
        });
}
