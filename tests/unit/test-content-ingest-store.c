/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <linux/fs.h>
#include <sys/ioctl.h>

#include "lib/limits.h"
#include "tests/unit/content-samples.h"

static void references_are_printable_and_bounded(void) {
        char longest[LIMIT_INGEST_REFERENCE_LENGTH + 2];
        memset(longest, 'x', sizeof(longest));
        longest[sizeof(longest) - 1] = '\0';
        CHECK(!ingest_reference_is_valid(longest));
        longest[sizeof(longest) - 2] = '\0';
        CHECK(ingest_reference_is_valid(longest));
        CHECK(ingest_reference_is_valid("sha256:abc with a blank / and ü"));
        CHECK(!ingest_reference_is_valid(""));
        CHECK(!ingest_reference_is_valid("a\nb"));
        CHECK(!ingest_reference_is_valid("\xff"));
}

typedef struct Seen {
        unsigned count;
        IngestRecord last;
} Seen;

static int see(IngestRecord *record, void *userdata) {
        Seen *seen = userdata;
        seen->count++;
        ingest_record_done(&seen->last);
        seen->last = TAKE(*record, (IngestRecord){ 0 });
        return 0;
}

static void records_outlive_the_process(void) {
        _cleanup_(ingest_record_done) IngestRecord record = sample_record("one", "r");
        record.has_digest = true;
        record.digest = sample_digest("bytes");
        record.size = 5;
        ContentState *state = sample_state("records");
        CHECK_OK(ingest_record_add(state, &record, NULL, NULL));
        CHECK(record.number > 0);
        content_state_free(state);

        state = sample_state("records");
        Seen seen = { 0 };
        CHECK_OK(ingest_record_visit_all(state, see, &seen));
        CHECK_INT(seen.count, 1);
        CHECK_STRING(seen.last.namespace, "one");
        CHECK_STRING(seen.last.reference, "r");
        CHECK(seen.last.has_digest && digest_equal(&seen.last.digest, &record.digest));
        CHECK_INT(seen.last.size, 5);
        CHECK_INT(seen.last.uid, 1000);
        CHECK_INT(seen.last.started, record.started);
        ingest_record_done(&seen.last);
        content_state_free(state);
}

static void what_was_not_promised_stays_unknown(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("unknown");
        _cleanup_(ingest_record_done) IngestRecord record = sample_record("one", "r");
        Seen seen = { 0 };
        record.digest.algorithm = DIGEST_SHA512;
        CHECK_OK(ingest_record_add(state, &record, NULL, NULL));
        CHECK_OK(ingest_record_visit_all(state, see, &seen));
        CHECK(!seen.last.has_digest);
        CHECK_INT(seen.last.digest.algorithm, DIGEST_SHA512);
        CHECK(seen.last.size == INGEST_SIZE_UNKNOWN);
        ingest_record_done(&seen.last);
}

static void a_name_is_taken_once_in_a_namespace(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("names");
        _cleanup_(ingest_record_done) IngestRecord first = sample_record("one", "r"),
                                                   second = sample_record("one", "r"),
                                                   other = sample_record("two", "r");
        CHECK_OK(ingest_record_add(state, &first, NULL, NULL));
        CHECK_ERROR(ingest_record_add(state, &second, NULL, NULL), -EEXIST);
        CHECK_OK(ingest_record_add(state, &other, NULL, NULL));
        CHECK(other.number != first.number);
}

static void numbers_are_never_used_again(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("numbers");
        _cleanup_(ingest_record_done) IngestRecord record = sample_record("one", "r");
        CHECK_OK(ingest_record_add(state, &record, NULL, NULL));
        int64_t number = record.number;
        CHECK_OK(ingest_record_remove(state, &record));
        CHECK_OK(ingest_record_add(state, &record, NULL, NULL));
        CHECK(record.number > number);
}

static void removing_takes_the_files(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("remove");
        _cleanup_(ingest_record_done) IngestRecord record = sample_record("one", "r");
        int data, checkpoint;
        char name[INGEST_NAME_SIZE];
        CHECK_OK(ingest_record_add(state, &record, NULL, NULL));
        CHECK_OK(ingest_files_open(state, &record, &data, &checkpoint));
        fd_close(data);
        fd_close(checkpoint);
        CHECK_OK(ingest_record_remove(state, &record));
        CHECK(!sample_exists(state->ingests, ingest_data_name(&record, name)));
        CHECK_ERROR(ingest_files_open(state, &record, &data, &checkpoint), -ENOENT);
}

static void commit_turns_one_record_into_another(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("commit");
        _cleanup_(ingest_record_done) IngestRecord record = sample_record("one", "r");
        Digest digest = sample_blob(state, "two", "bytes");
        Seen seen = { 0 };
        Blob blob;
        CHECK_OK(ingest_record_add(state, &record, NULL, NULL));
        CHECK_OK(ingest_record_commit(state, &record,
                                      &(IngestBlob){ .digest = &digest, .size = 5, .placed = true }, NULL));
        CHECK_OK(blob_find(state, "one", &digest, &blob));
        CHECK_OK(ingest_record_visit_all(state, see, &seen));
        CHECK_INT(seen.count, 0);
}

static void expires_a_day_after_it_was_touched(void) {
        IngestRecord record = { .touched = UINT64_C(1000000000) };
        CHECK(!ingest_record_is_expired(&record, record.touched));
        CHECK(!ingest_record_is_expired(&record, record.touched + INGEST_EXPIRY_USEC - 1));
        CHECK(ingest_record_is_expired(&record, record.touched + INGEST_EXPIRY_USEC));
        CHECK(!ingest_record_is_expired(&record, record.touched - 1));
}

static void sweep_makes_files_and_records_agree(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("sweep");
        _cleanup_(ingest_record_done) IngestRecord kept = sample_record("one", "kept"),
                                                   lost = sample_record("one", "lost");
        char name[INGEST_NAME_SIZE];
        Seen seen = { 0 };
        CHECK_OK(ingest_record_add(state, &kept, NULL, NULL));
        CHECK_OK(ingest_record_add(state, &lost, NULL, NULL));
        CHECK_OK(unlinkat(state->ingests, ingest_data_name(&lost, name), 0));
        sample_file(state->ingests, "77.data", "left");
        sample_file(state->ingests, "78.state", "left");

        sample_sweep(state);
        CHECK_OK(ingest_record_visit_all(state, see, &seen));
        CHECK_INT(seen.count, 1);
        CHECK_STRING(seen.last.reference, "kept");
        CHECK(sample_exists(state->ingests, ingest_data_name(&kept, name)));
        CHECK(!sample_exists(state->ingests, "77.data"));
        CHECK(!sample_exists(state->ingests, "78.state"));
        ingest_record_done(&seen.last);
}

/* One that is in the way of nobody, whatever is wrong with it. */
static void one_ingest_does_not_end_the_sweep(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("tolerant");
        _cleanup_(ingest_record_done) IngestRecord read_only = sample_record("one", "read-only"),
                                                   link = sample_record("one", "link"),
                                                   lost = sample_record("one", "lost");
        char name[INGEST_NAME_SIZE];
        int data, checkpoint;
        Seen seen = { 0 };
        CHECK_OK(ingest_record_add(state, &link, NULL, NULL));
        CHECK_OK(ingest_record_add(state, &read_only, NULL, NULL));
        CHECK_OK(ingest_record_add(state, &lost, NULL, NULL));
        CHECK_OK(unlinkat(state->ingests, ingest_data_name(&link, name), 0));
        CHECK_OK(symlinkat("elsewhere", state->ingests, name));
        CHECK_OK(fchmodat(state->ingests, ingest_data_name(&read_only, name), 0444, 0));
        CHECK_OK(unlinkat(state->ingests, ingest_data_name(&lost, name), 0));
        CHECK_OK(mkdirat(state->ingests, "77.data", 0700));

        CHECK_OK(ingest_store_sweep(state));
        CHECK_OK(ingest_record_visit_all(state, see, &seen));
        CHECK_INT(seen.count, 2);
        CHECK_STRING(seen.last.reference, "read-only");
        CHECK_OK(ingest_files_open(state, &read_only, &data, &checkpoint));
        fd_close(data);
        fd_close(checkpoint);
        ingest_record_done(&seen.last);
}

static bool set_flags(int directory, const char *name, int flags) {
        _cleanup_close_ int fd = openat(directory, name, O_RDONLY | O_CLOEXEC);
        return fd >= 0 && ioctl(fd, FS_IOC_SETFLAGS, &flags) >= 0;
}

/* As with fs-verity: no permission helps. */
static void what_can_never_be_written_to_goes(void) {
        _cleanup_(content_state_freep) ContentState *state = sample_state("sealed");
        _cleanup_(ingest_record_done) IngestRecord sealed = sample_record("one", "sealed"),
                                                   kept = sample_record("one", "kept");
        char name[INGEST_NAME_SIZE];
        Seen seen = { 0 };
        CHECK_OK(ingest_record_add(state, &sealed, NULL, NULL));
        CHECK_OK(ingest_record_add(state, &kept, NULL, NULL));
        if (!set_flags(state->ingests, ingest_data_name(&sealed, name), FS_APPEND_FL)) {
                (void) fprintf(stderr, "this file system or user can't make files append-only\n");
                return;
        }
        int r = ingest_store_sweep(state);
        CHECK(set_flags(state->ingests, name, 0));
        CHECK_OK(r);
        CHECK_OK(ingest_record_visit_all(state, see, &seen));
        CHECK_INT(seen.count, 1);
        CHECK_STRING(seen.last.reference, "kept");
        ingest_record_done(&seen.last);
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(references_are_printable_and_bounded),
                CHECK_CASE(records_outlive_the_process),
                CHECK_CASE(what_was_not_promised_stays_unknown),
                CHECK_CASE(a_name_is_taken_once_in_a_namespace),
                CHECK_CASE(numbers_are_never_used_again),
                CHECK_CASE(removing_takes_the_files),
                CHECK_CASE(commit_turns_one_record_into_another),
                CHECK_CASE(expires_a_day_after_it_was_touched),
                CHECK_CASE(sweep_makes_files_and_records_agree),
                CHECK_CASE(one_ingest_does_not_end_the_sweep),
                CHECK_CASE(what_can_never_be_written_to_goes),
                {},
        });
}
