/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "tests/unit/content-samples.h"

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
        unsigned count;
        Digest last;
        bool ordered;
} Seen;

static int see(const Blob *blob, void *userdata) {
        Seen *seen = userdata;
        if (seen->count++ > 0 && memcmp(seen->last.raw, blob->digest.raw, DIGEST_RAW_MAX) >= 0)
                seen->ordered = false;
        seen->last = blob->digest;
        return 0;
}

static void lists_in_pages_and_in_order(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("list");
        Seen seen = { .ordered = true };
        for (int i = 0; i < 10; i++)
                sample_blob(state, "one", (const char[]){ (char) ('a' + i), '\0' });
        sample_blob(state, "two", "not listed");

        CHECK_INT(blob_list(state, "one", NULL, 4, see, &seen), 1);
        CHECK_INT(seen.count, 4);
        Digest after = seen.last;
        CHECK_INT(blob_list(state, "one", &after, 4, see, &seen), 1);
        after = seen.last;
        CHECK_INT(blob_list(state, "one", &after, 4, see, &seen), 0);
        CHECK_INT(seen.count, 10);
        CHECK(seen.ordered);
        CHECK_INT(blob_list(state, "one", NULL, 10, see, &(Seen){ 0 }), 0);
        CHECK_INT(blob_list(state, "nobody", NULL, 10, see, &(Seen){ 0 }), 0);
}

static int fail(const Blob *blob, void *userdata) {
        return -ECANCELED;
}

static void a_list_ends_where_the_visitor_fails(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("list-fail");
        sample_blob(state, "one", "a");
        CHECK_ERROR(blob_list(state, "one", NULL, 10, fail, NULL), -ECANCELED);
}

static void new_directories_are_given_to_be_synced(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("directories");
        Digest digest = sample_digest("bytes");
        int directories[BLOB_DIRECTORIES_MAX];
        size_t count;

        sample_file(state->ingests, "new", "bytes");
        CHECK_OK(blob_place(state, &digest, state->ingests, "new", directories, &count));
        CHECK_INT(count, 3);
        for (size_t i = 0; i < count; i++)
                CHECK_OK(fsync(directories[i]));
        fd_close_many(directories, count);
        CHECK(!sample_exists(state->ingests, "new"));
        CHECK_INT(blob_is_stored(state, &digest), 0);

        CHECK_OK(blob_displace(state, &digest, state->ingests, "new"));
        CHECK(sample_exists(state->ingests, "new"));
        CHECK_OK(blob_place(state, &digest, state->ingests, "new", directories, &count));
        CHECK_INT(count, 1);
        fd_close_many(directories, count);
}

static void placing_fails_without_leaving_descriptors(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("missing");
        Digest digest = sample_digest("bytes");
        int directories[BLOB_DIRECTORIES_MAX];
        size_t count;
        int before = open("/dev/null", O_RDONLY | O_CLOEXEC);
        fd_close(before);
        CHECK_ERROR(blob_place(state, &digest, state->ingests, "not there", directories, &count), -ENOENT);
        _cleanup_close_ int after = open("/dev/null", O_RDONLY | O_CLOEXEC);
        CHECK_INT(after, before);
}

static void sweep_removes_what_has_no_record(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("sweep-files");
        Digest kept = sample_blob(state, "one", "kept"), left = sample_digest("left");
        int directories[BLOB_DIRECTORIES_MAX];
        size_t count;
        Blob blob;

        sample_file(state->ingests, "new", "left");
        CHECK_OK(blob_place(state, &left, state->ingests, "new", directories, &count));
        fd_close_many(directories, count);
        sample_file(state->blobs, "lost+found", "somebody else's");
        CHECK_OK(content_state_sweep(state));
        CHECK_ERROR(blob_displace(state, &left, state->ingests, "new"), -ENOENT);
        _cleanup_close_ int fd = blob_open(state, "one", &kept, &blob);
        CHECK_OK(fd);
        CHECK(sample_exists(state->blobs, "lost+found"));
}

static void sweep_forgets_what_has_no_file(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("sweep-records");
        Digest kept = sample_blob(state, "one", "kept"), lost = sample_blob(state, "one", "lost"),
               shorter = sample_blob(state, "two", "shorter");
        Blob blob;

        CHECK_OK(blob_displace(state, &lost, state->ingests, "gone"));
        CHECK_OK(blob_displace(state, &shorter, state->ingests, "shorter"));
        sample_file(state->ingests, "shorter", "sh");
        int directories[BLOB_DIRECTORIES_MAX];
        size_t count;
        CHECK_OK(blob_place(state, &shorter, state->ingests, "shorter", directories, &count));
        fd_close_many(directories, count);

        CHECK_OK(content_state_sweep(state));
        CHECK_OK(blob_find(state, "one", &kept, &blob));
        CHECK_ERROR(blob_find(state, "one", &lost, &blob), -ENOENT);
        CHECK_ERROR(blob_find(state, "two", &shorter, &blob), -ENOENT);
        CHECK_INT(blob_is_stored(state, &lost), 0);
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(shows_a_blob_where_it_was_paid_for),
                CHECK_CASE(opens_for_reading_only),
                CHECK_CASE(bytes_go_with_the_last_namespace),
                CHECK_CASE(lists_in_pages_and_in_order),
                CHECK_CASE(a_list_ends_where_the_visitor_fails),
                CHECK_CASE(new_directories_are_given_to_be_synced),
                CHECK_CASE(placing_fails_without_leaving_descriptors),
                CHECK_CASE(sweep_removes_what_has_no_record),
                CHECK_CASE(sweep_forgets_what_has_no_file),
                {},
        });
}
