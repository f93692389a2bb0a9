/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/content/ingest-store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/limits.h"
#include "lib/log.h"
#include "lib/strv.h"
#include "services/content/blob-store.h"
#include "services/content/content-labels.h"
#include "services/content/content-namespace.h"
#include "services/content/lease-store.h"

void ingest_record_done(IngestRecord *record) {
        free(record->namespace);
        free(record->reference);
        *record = (IngestRecord){ 0 };
}

bool ingest_reference_is_valid(const char *reference) {
        return !string_is_empty(reference) && strlen(reference) <= LIMIT_INGEST_REFERENCE_LENGTH &&
               string_is_printable(reference);
}

/* A clock that was set back makes nothing older than it is. */
bool ingest_record_is_expired(const IngestRecord *record, uint64_t now) {
        return now > record->touched && now - record->touched >= INGEST_EXPIRY_USEC;
}

/* ---- files ---- */

const char *ingest_data_name(const IngestRecord *record, char buffer[INGEST_NAME_SIZE]) {
        (void) snprintf(buffer, INGEST_NAME_SIZE, "%lli.data", (long long) record->number);
        return buffer;
}

static const char *checkpoint_name(const IngestRecord *record, char buffer[INGEST_NAME_SIZE]) {
        (void) snprintf(buffer, INGEST_NAME_SIZE, "%lli.state", (long long) record->number);
        return buffer;
}

static void files_remove(ContentState *state, const IngestRecord *record) {
        char data[INGEST_NAME_SIZE], checkpoint[INGEST_NAME_SIZE];
        const char *names[] = { ingest_data_name(record, data), checkpoint_name(record, checkpoint) };
        for (size_t i = 0; i < ELEMENTS_OF(names); i++)
                if (unlinkat(state->ingests, names[i], 0) < 0 && errno != ENOENT)
                        log_warning("ingest/%s can't be removed: %s", names[i], strerror(errno));
}

static int file_open(ContentState *state, const char *name, int flags) {
        int fd = openat(state->ingests, name, O_NOFOLLOW | O_CLOEXEC | flags, 0600);
        return fd < 0 ? -errno : fd;
}

bool ingest_data_is_sealed(ContentState *state, const IngestRecord *record) {
        char name[INGEST_NAME_SIZE];
        struct statx st;
        return statx(state->ingests, ingest_data_name(record, name), AT_SYMLINK_NOFOLLOW, STATX_TYPE, &st) >=
                       0 &&
               (st.stx_attributes & STATX_ATTR_VERITY);
}

static int data_open(ContentState *state, const IngestRecord *record) {
        char name[INGEST_NAME_SIZE];
        int fd = file_open(state, ingest_data_name(record, name), O_RDWR);
        return fd == -EPERM && ingest_data_is_sealed(state, record) ? file_open(state, name, O_RDONLY) : fd;
}

int ingest_files_open(ContentState *state, const IngestRecord *record, int *ret_data, int *ret_checkpoint) {
        char name[INGEST_NAME_SIZE];
        _cleanup_close_ int data = data_open(state, record);
        if (data < 0)
                return data;
        _cleanup_close_ int checkpoint = file_open(state, checkpoint_name(record, name), O_RDWR);
        if (checkpoint < 0)
                return checkpoint;
        *ret_data = TAKE_FD(data);
        *ret_checkpoint = TAKE_FD(checkpoint);
        return 0;
}

static int files_make(ContentState *state, const IngestRecord *record) {
        char name[INGEST_NAME_SIZE];
        _cleanup_close_ int data =
                file_open(state, ingest_data_name(record, name), O_RDWR | O_CREAT | O_TRUNC);
        if (data < 0)
                return data;
        _cleanup_close_ int checkpoint =
                file_open(state, checkpoint_name(record, name), O_RDWR | O_CREAT | O_TRUNC);
        return checkpoint < 0 ? checkpoint : 0;
}

/* ---- records ---- */

static int insert(ContentState *state, IngestRecord *record) {
        char text[DIGEST_STRING_MAX];
        /* Without a promise only the algorithm is kept, as "sha256". */
        const char *digest = record->has_digest ? digest_to_string(&record->digest, text)
                                                : digest_algorithm_to_string(record->digest.algorithm);
        int r = database_execute(state->database,
                                 "INSERT INTO ingests (namespace, reference, digest, size, at_most, started,"
                                 " touched, uid) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                                 "sssiiiii", record->namespace, record->reference, digest,
                                 (int64_t) record->size, (int64_t) record->at_most,
                                 (int64_t) record->started, (int64_t) record->touched,
                                 (int64_t) record->uid);
        if (r < 0)
                return r;
        record->number = database_last_id(state->database);
        return 0;
}

static int insert_with_labels(ContentState *state, IngestRecord *record, char *const *labels, Fault *fault) {
        const Labelled labelled = { LABELLED_INGEST, record->namespace, record->reference };
        int r = content_labels_check(LABELLED_INGEST, labels, fault);
        if (r < 0)
                return r;
        _cleanup_(content_state_unrelaxp) ContentState *relaxed = state;
        content_state_relax(relaxed);
        r = database_begin(state->database);
        if (r < 0)
                return r;
        _cleanup_(database_rollbackp) Database *transaction = state->database;
        r = insert(state, record);
        if (r >= 0 && labels)
                r = content_labels_change(state, &labelled, labels, /* replace= */ true, fault);
        return r < 0 ? r : database_commit(transaction);
}

int ingest_record_add(ContentState *state, IngestRecord *record, char *const *labels, Fault *fault) {
        record->started = record->touched = content_now();
        int r = insert_with_labels(state, record, labels, fault);
        if (r < 0)
                return r;
        r = files_make(state, record);
        if (r < 0)
                (void) ingest_record_remove(state, record);
        return r;
}

static int write_touched(ContentState *state, IngestRecord *record) {
        record->touched = content_now();
        int r = database_execute(state->database, "UPDATE ingests SET touched = ? WHERE number = ?", "ii",
                                 (int64_t) record->touched, record->number);
        return r < 0 ? r : 0;
}

int ingest_record_touch(ContentState *state, IngestRecord *record) {
        _cleanup_(content_state_unrelaxp) ContentState *relaxed = state;
        content_state_relax(relaxed);
        return write_touched(state, record);
}

int ingest_record_make_durable(ContentState *state, IngestRecord *record) {
        return write_touched(state, record);
}

static int delete (ContentState *state, const IngestRecord *record) {
        int r = database_execute(state->database, "DELETE FROM ingests WHERE number = ?", "i",
                                 record->number);
        return r < 0 ? r : 0;
}

int ingest_record_remove(ContentState *state, const IngestRecord *record) {
        _cleanup_(content_state_unrelaxp) ContentState *relaxed = state;
        content_state_relax(relaxed);
        int r;
        do
                r = delete (state, record);
        while (store_reserve_try_again(&state->reserve, r));
        if (r < 0)
                return r;
        files_remove(state, record);
        store_reserve_restore(&state->reserve);
        return 0;
}

/* The ingest goes, and its labels become the blob's before those of the commit do: none counts twice. */
static int commit_labels(ContentState *state, const IngestRecord *record, const char *digest,
                         char *const *more, Fault *fault) {
        const Labelled ingest = { LABELLED_INGEST, record->namespace, record->reference };
        const Labelled blob = { LABELLED_BLOB, record->namespace, digest };
        _cleanup_strv_ char **labels = NULL;

        int r = content_labels_check(LABELLED_BLOB, more, fault);
        if (r >= 0)
                r = content_labels_read(state, &ingest, &labels);
        if (r >= 0)
                r = delete (state, record);
        if (r >= 0 && labels)
                r = content_labels_change(state, &blob, labels, /* replace= */ false, fault);
        if (r >= 0 && more)
                r = content_labels_change(state, &blob, more, /* replace= */ false, fault);
        return r;
}

int ingest_record_commit(ContentState *state, const IngestRecord *record, const IngestBlob *blob,
                         Fault *fault) {
        char text[DIGEST_STRING_MAX];

        int r = database_begin(state->database);
        if (r < 0)
                return r;
        _cleanup_(database_rollbackp) Database *transaction = state->database;
        if (blob->placed)
                r = blob_record(state, blob->digest, blob->size, blob->verity);
        if (r >= 0)
                r = blob_grant(state, record->namespace, blob->digest);
        if (r > 0)
                r = content_namespace_check(state, record->namespace, NAMESPACE_BLOBS, 0, fault);
        if (r >= 0)
                r = commit_labels(state, record, digest_to_string(blob->digest, text), blob->labels, fault);
        if (r >= 0)
                r = lease_follow_ingest(state, record->namespace, record->reference, blob->digest);
        if (r >= 0)
                r = database_commit(transaction);
        if (r < 0)
                return r;
        files_remove(state, record);
        return 0;
}

static int record_read(const DatabaseRows *rows, IngestRecord *ret) {
        _cleanup_(ingest_record_done) IngestRecord record = {
                .number = database_rows_int64(rows, 0),
                .namespace = strdup(database_rows_string(rows, 1)),
                .reference = strdup(database_rows_string(rows, 2)),
                .size = (uint64_t) database_rows_int64(rows, 4),
                .at_most = (uint64_t) database_rows_int64(rows, 5),
                .started = (uint64_t) database_rows_int64(rows, 6),
                .touched = (uint64_t) database_rows_int64(rows, 7),
                .uid = (uid_t) database_rows_int64(rows, 8),
        };
        const char *digest = database_rows_string(rows, 3);

        if (!record.namespace || !record.reference)
                return -ENOMEM;
        record.has_digest = digest_parse(digest, &record.digest) >= 0;
        if (!record.has_digest)
                record.digest.algorithm = digest_algorithm_from_string(digest);
        if (record.digest.algorithm < 0)
                return -EUCLEAN;
        *ret = TAKE(record, (IngestRecord){ 0 });
        return 0;
}

int ingest_record_visit(ContentState *state, uint64_t after, uint32_t limit, IngestVisit visit,
                        void *userdata) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        uint32_t count = 0;
        int r = database_query(state->database, &rows,
                               "SELECT number, namespace, reference, digest, size, at_most, started,"
                               " touched, uid"
                               " FROM ingests WHERE number > ? ORDER BY number LIMIT ?",
                               "ii", (int64_t) after, (int64_t) limit);
        if (r < 0)
                return r;
        while ((r = database_rows_next(&rows)) > 0) {
                _cleanup_(ingest_record_done) IngestRecord record = { 0 };
                r = record_read(&rows, &record);
                if (r >= 0)
                        r = visit(&record, userdata);
                if (r < 0)
                        return r;
                count++;
        }
        return r < 0 ? r : count == limit;
}

int ingest_record_visit_all(ContentState *state, IngestVisit visit, void *userdata) {
        int r = ingest_record_visit(state, 0, UINT32_MAX, visit, userdata);
        return r < 0 ? r : 0;
}

/* ---- after an end that was not orderly ---- */

static int is_recorded(ContentState *state, uint64_t number) {
        _cleanup_(database_rows_done) DatabaseRows rows = { 0 };
        int r = database_query(state->database, &rows, "SELECT 1 FROM ingests WHERE number = ?", "i",
                               (int64_t) number);
        return r < 0 ? r : database_rows_next(&rows);
}

static int sweep_file(int directory, const char *name, void *userdata) {
        _cleanup_free_ char *number = strndup(name, strcspn(name, "."));
        uint64_t value;
        if (!number)
                return -ENOMEM;
        int r = string_to_uint64(number, INT64_MAX, &value) < 0 ? 0 : is_recorded(userdata, value);
        if (r != 0)
                return r < 0 ? r : 0;
        log_info("ingest/%s was left in the middle and goes", name);
        if (unlinkat(directory, name, 0) < 0 && errno != ENOENT)
                log_warning("ingest/%s can't be removed: %s", name, strerror(errno));
        return 0;
}

/* A commit that was ended in the middle leaves bytes that can only be read. */
static int open_left(ContentState *state, const IngestRecord *record, int *ret_data, int *ret_checkpoint) {
        char name[INGEST_NAME_SIZE];
        int r = ingest_files_open(state, record, ret_data, ret_checkpoint);
        if (r != -EACCES)
                return r;
        if (fchmodat(state->ingests, ingest_data_name(record, name), 0600, 0) < 0)
                return -errno;
        return ingest_files_open(state, record, ret_data, ret_checkpoint);
}

/* Whatever is wrong with one ingest keeps nobody from the others. */
static int sweep_record(IngestRecord *record, void *userdata) {
        ContentState *state = userdata;
        _cleanup_close_ int data = -EBADF, checkpoint = -EBADF;
        int r = open_left(state, record, &data, &checkpoint);
        if (r >= 0)
                return 0;
        if (r != -ENOENT && r != -EPERM) {
                log_warning("ingest '%s' of %s can't be opened: %s", record->reference, record->namespace,
                            strerror(-r));
                return 0;
        }
        log_info("ingest '%s' of %s %s and goes", record->reference, record->namespace,
                 r == -ENOENT ? "has lost its files" : "can't be continued");
        return ingest_record_remove(state, record);
}

int ingest_store_sweep(ContentState *state) {
        int r = ingest_record_visit_all(state, sweep_record, state);
        return r < 0 ? r : content_visit_directory(state->ingests, sweep_file, state);
}
