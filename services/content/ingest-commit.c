/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A commit, from the call to the record:
 *
 *   1. The stream is over: the worker has said so (ENDED), or is started once more to look at what an
 * earlier one left.
 *   2. Size and digest are held against what was promised at the beginning and now.
 *   3. If the bytes are in the store already, the record is all that is missing: 6.
 *   4. The file, which is synced, is linked to its place. Only one ingest at a time does this for one
 * digest; others wait and look again.
 *   5. The worker syncs the directories, and whatever of the file is not synced yet.
 *   6. One transaction writes the blob and takes the ingest. If it fails, the link goes.
 *   7. The ingest's own names of its files go.
 *
 * Killed before 6, the next start finds a link without record and removes it, and the ingest is as it was:
 * whole, and committed by the next Commit. Killed before 7, it finds files without record, and removes
 * these. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/strv.h"
#include "services/content/blob-store.h"
#include "services/content/ingest-private.h"
#include "services/content/lease-store.h"

/* The ingest is as it was, or gone; the answer is the last thing that happens. */
static void answer(Ingest *ingest, int r, Fault *fault, bool remove) {
        IngestCommitted committed = TAKE_PTR(ingest->committed);
        void *userdata = TAKE_PTR(ingest->userdata);
        Digest digest = ingest->ended.digest;
        uint64_t bytes = ingest->ended.bytes;

        ingest->blocked = false;
        content_waiter_done(&ingest->waiter);
        ingest->promise.labels = NULL;
        ingest->labels = strv_free(ingest->labels);
        if (remove) {
                int removed = ingest_remove(ingest);
                if (removed < 0 && r >= 0)
                        r = fault_set_errno(fault, removed, "the ingest can't be removed");
        }
        committed(r, fault, &digest, bytes, userdata);
}

void ingest_commit_fail(Ingest *ingest, int r, const char *why) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        if (!ingest->committed)
                return;
        fault_set(&fault, r, "%s", why);
        answer(ingest, r, &fault, /* remove= */ false);
}

static int check_size(const IngestRecord *record, const IngestPromise *promise, uint64_t bytes,
                      Fault *fault) {
        const uint64_t promises[] = { record->size, promise->size };
        for (size_t i = 0; i < ELEMENTS_OF(promises); i++) {
                if (promises[i] == INGEST_SIZE_UNKNOWN || promises[i] == bytes)
                        continue;
                return bytes < promises[i]
                               ? fault_set(fault, -ENODATA, "only %llu of %llu bytes have come",
                                           (unsigned long long) bytes, (unsigned long long) promises[i])
                               : fault_set(fault, -E2BIG, "more than the promised %llu bytes came",
                                           (unsigned long long) promises[i]);
        }
        return 0;
}

static int check_digest(bool has_digest, const Digest *promised, const Digest *digest, Fault *fault) {
        char a[DIGEST_STRING_MAX], b[DIGEST_STRING_MAX];
        if (!has_digest || digest_equal(promised, digest))
                return 0;
        return fault_set(fault, -EUCLEAN, "the bytes have the digest %s, not %s",
                         digest_to_string(digest, a), digest_to_string(promised, b));
}

/* If the stream was ended, it was not by the room in the namespace. */
static bool is_beyond_at_most(const Ingest *ingest) {
        uint64_t room, at_most = ingest->record.at_most;
        if (at_most == INGEST_SIZE_UNKNOWN || ingest->ended.error != -EDQUOT)
                return ingest->ended.bytes > at_most;
        return ingest_room(ingest, &room) >= 0 && room >= at_most;
}

static uint64_t expected_size(const Ingest *ingest) {
        if (ingest->record.size != INGEST_SIZE_UNKNOWN)
                return ingest->record.size;
        return ingest->promise.size != INGEST_SIZE_UNKNOWN ? ingest->promise.size : ingest->ended.bytes;
}

/* -ENODATA fewer bytes than promised, -E2BIG more, -EUCLEAN others. */
static int check_promises(const Ingest *ingest, Fault *fault) {
        const IngestRecord *record = &ingest->record;
        const IngestMessage *ended = &ingest->ended;
        if (ended->error == -E2BIG)
                return fault_set(fault, -E2BIG, "more than the promised %llu bytes came",
                                 (unsigned long long) expected_size(ingest));
        if (is_beyond_at_most(ingest))
                return fault_set(fault, -EDQUOT, "more than the %llu bytes that are taken came",
                                 (unsigned long long) record->at_most);
        if (ended->error == -EDQUOT)
                return fault_set(fault, -EDQUOT, "the namespace has no room for more bytes");
        if (ended->error < 0 && ended->error != -ENODATA)
                return fault_set_errno(fault, ended->error, "the bytes can't be stored");
        int r = check_size(record, &ingest->promise, ended->bytes, fault);
        if (r >= 0)
                r = check_digest(record->has_digest, &record->digest, &ended->digest, fault);
        if (r >= 0)
                r = check_digest(ingest->promise.has_digest, &ingest->promise.digest, &ended->digest, fault);
        return r;
}

/* Its owner may write to it until it has fs-verity. */
static int place(Ingest *ingest, BlobPlacing *ret) {
        ContentState *state = ingest->table->state;
        char name[INGEST_NAME_SIZE];
        ingest_data_name(&ingest->record, name);
        if (fchmodat(state->ingests, name, 0644, 0) < 0)
                return -errno;
        int r = blob_place(state, &ingest->ended.digest, state->ingests, name, ret);
        if (r < 0 && fchmodat(state->ingests, name, 0600, 0) < 0)
                log_error("ingest '%s' of %s can't be restored: %s", ingest->record.reference,
                          ingest->record.namespace, strerror(errno));
        return r;
}

static void take_back(Ingest *ingest) {
        ContentState *state = ingest->table->state;
        char name[INGEST_NAME_SIZE];
        int r = blob_displace(state, &ingest->ended.digest);
        if (r >= 0 && fchmodat(state->ingests, ingest_data_name(&ingest->record, name), 0600, 0) < 0)
                r = -errno;
        if (r < 0)
                log_error("ingest '%s' of %s can't be restored: %s", ingest->record.reference,
                          ingest->record.namespace, strerror(-r));
}

static void judge_blocked(IngestTable *table, const Digest *digest);
static void commit_judge(Ingest *ingest);
static void commit_record(Ingest *ingest, bool verity);

/* What was not placed by this ingest may have gone in the meantime. */
static void on_released(void *userdata) {
        Ingest *ingest = userdata;
        IngestTable *table = ingest->table;
        Digest digest = ingest->ended.digest;
        if (ingest->phase == INGEST_SYNCING)
                commit_record(ingest, ingest->verity);
        else
                commit_judge(ingest);
        judge_blocked(table, &digest);
}

/* Its labels, or a lease that has named the ingest, would keep what a collection takes away in this moment.
 */
static bool must_wait(const Ingest *ingest) {
        const LeaseResource resource = { LEASE_INGEST, ingest->record.reference };
        ContentState *state = ingest->table->state;
        return state->held &&
               (ingest->promise.labels || lease_holds(state, ingest->record.namespace, &resource) != 0);
}

static void commit_record(Ingest *ingest, bool verity) {
        ContentState *state = ingest->table->state;
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        const IngestBlob blob = {
                .digest = &ingest->ended.digest,
                .size = ingest->ended.bytes,
                .placed = ingest->phase == INGEST_SYNCING,
                .verity = verity,
                .labels = ingest->promise.labels,
        };
        if (must_wait(ingest)) {
                ingest->verity = verity;
                content_state_wait(state, &ingest->waiter, on_released, ingest);
                return;
        }
        int r = ingest_record_commit(state, &ingest->record, &blob, &fault);
        if (r < 0) {
                if (ingest->phase == INGEST_SYNCING)
                        take_back(ingest);
                ingest->phase = ingest->worker ? INGEST_RECEIVED : INGEST_IDLE;
                fault_set_errno(&fault, r, "the blob can't be recorded");
        }
        answer(ingest, r, &fault, /* remove= */ r >= 0);
}

bool ingest_commit_is_placing(const Digest *digest, void *userdata) {
        const IngestTable *table = userdata;
        for (const Ingest *ingest = table->ingests; ingest; ingest = ingest->next)
                if (ingest->phase == INGEST_SYNCING && digest_equal(&ingest->ended.digest, digest))
                        return true;
        return false;
}

static int place_and_sync(Ingest *ingest) {
        IngestMessage message = { .type = INGEST_SYNC };
        BlobPlacing *placing = &ingest->placing;

        if (!ingest->worker)
                return -EPIPE;
        int r = place(ingest, placing);
        if (r < 0)
                return r;
        _cleanup_close_ int file = blob_open_file(ingest->table->state, &ingest->ended.digest);
        int fds[1 + BLOB_DIRECTORIES_MAX] = { file };
        memcpy(fds + 1, placing->directories, placing->count * sizeof(int));
        r = file < 0 ? file
                     : worker_send(ingest->worker, &message, sizeof(message), fds, 1 + placing->count);
        blob_placing_done(placing);
        if (r < 0)
                take_back(ingest);
        else
                ingest->phase = INGEST_SYNCING;
        return r;
}

/* Nobody writes and nothing is known of the end: a worker looks at what is there, on a stream that is over.
 */
static int commit_reopen(Ingest *ingest, Fault *fault) {
        IngestResume resume;
        uint64_t size =
                ingest->record.size == INGEST_SIZE_UNKNOWN ? ingest->promise.size : ingest->record.size;
        int ends[2];

        int r = ingest_read_checkpoint(ingest, &resume);
        if (r < 0)
                return fault_set_errno(fault, r, "the ingest can't be read");
        if (resume.offset != size && !resume.complete)
                return fault_set(fault, ingest->error < 0 ? ingest->error : -EBUSY,
                                 "the stream broke off after %llu bytes%s%s",
                                 (unsigned long long) resume.offset, ingest->error < 0 ? ": " : "",
                                 ingest->error < 0 ? strerror(-ingest->error) : "");
        if (pipe2(ends, O_CLOEXEC) < 0)
                return -errno;
        fd_close(ends[1]);
        r = ingest_start_worker(ingest, ends[0], fault);
        fd_close(ends[0]);
        return r;
}

/* What the namespace has already costs nothing. */
static int check_room(const Ingest *ingest, Fault *fault) {
        const IngestRecord *record = &ingest->record;
        uint64_t room;
        Blob blob;
        int r = ingest_room(ingest, &room);
        if (r < 0 || ingest->ended.bytes <= room)
                return r;
        r = blob_find(ingest->table->state, record->namespace, &ingest->ended.digest, &blob);
        return r == -ENOENT ? fault_set(fault, -EDQUOT, "the namespace %s has room for %llu more bytes",
                                        record->namespace, (unsigned long long) room)
                            : r;
}

static void commit_judge(Ingest *ingest) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        int r = check_promises(ingest, &fault);
        bool useless = r == -EUCLEAN || r == -E2BIG || (r < 0 && is_beyond_at_most(ingest));
        if (r >= 0)
                r = check_room(ingest, &fault);
        if (r < 0) {
                answer(ingest, r == -ENODATA || r == -E2BIG ? -EBUSY : r, &fault, useless);
                return;
        }
        r = blob_is_stored(ingest->table->state, &ingest->ended.digest);
        if (r > 0) {
                commit_record(ingest, /* verity= */ false);
                return;
        }
        ingest->blocked = r == 0 && ingest_commit_is_placing(&ingest->ended.digest, ingest->table);
        if (ingest->blocked)
                return;
        if (r == 0)
                r = place_and_sync(ingest);
        if (r == -EPIPE) {
                /* It had waited long enough, and is going or gone. */
                ingest_become_idle(ingest);
                r = commit_reopen(ingest, &fault);
        }
        if (r < 0) {
                fault_set_errno(&fault, r, "the bytes can't be put in their place");
                answer(ingest, r, &fault, /* remove= */ false);
        }
}

static void judge_blocked(IngestTable *table, const Digest *digest) {
        for (Ingest *ingest = table->ingests, *next; ingest; ingest = next) {
                next = ingest->next;
                if (ingest->blocked && digest_equal(&ingest->ended.digest, digest))
                        commit_judge(ingest);
        }
}

void ingest_commit_on_ended(Ingest *ingest) {
        if (ingest->committed)
                commit_judge(ingest);
}

/* What the worker knew does not count any longer: the files say how the ingest goes on. Of a file with
 * fs-verity, which can't be written again, an error of the disk leaves nothing to rely on. */
static void commit_fail_synced(Ingest *ingest, int error, const char *why) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        bool useless = error != -EAGAIN && ingest_data_is_sealed(ingest->table->state, &ingest->record);
        take_back(ingest);
        fault_set_errno(&fault, error, "%s", why);
        ingest_become_idle(ingest);
        answer(ingest, error, &fault, /* remove= */ useless);
}

void ingest_commit_on_synced(Ingest *ingest, int error, int seal) {
        IngestTable *table = ingest->table;
        Digest digest = ingest->ended.digest;
        char text[DIGEST_STRING_MAX];

        if (error >= 0 && seal < 0)
                log_warning("%s can't get fs-verity now: %s; the next Verify tries again",
                            digest_to_string(&digest, text), strerror(-seal));

        if (error >= 0) {
                blob_note_synced(table->state, &ingest->placing);
                error = blob_make_read_only(table->state, &digest);
        }
        if (error < 0)
                commit_fail_synced(ingest, error,
                                   error == seal ? "fs-verity can't be enabled for the blob"
                                                 : "the blob or its directory can't be synced");
        else
                commit_record(ingest, seal > 0);
        judge_blocked(table, &digest);
}

static int commit_begin(Ingest *ingest, Fault *fault) {
        IngestMessage message = { .type = INGEST_FINISH, .size = ingest->promise.size };
        int r;
        switch (ingest->phase) {
        case INGEST_IDLE:
                return commit_reopen(ingest, fault);
        case INGEST_RECEIVING:
                r = worker_send(ingest->worker, &message, sizeof(message), NULL, 0);
                return r == -EPIPE ? 0 : r; /* it has just died, and its end will be the answer */
        default:
                commit_judge(ingest);
                return 0;
        }
}

void ingest_commit(Ingest *ingest, const IngestPromise *promise, IngestCommitted committed, void *userdata) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        int r;

        if (ingest->committed) {
                r = fault_set(&fault, -EBUSY, "somebody else is committing this ingest");
                committed(r, &fault, NULL, 0, userdata);
                return;
        }
        ingest->committed = committed;
        ingest->userdata = userdata;
        ingest->promise = *promise;
        ingest->promise.labels = NULL;
        r = strv_copy((const char *const *) promise->labels, &ingest->labels);
        ingest->promise.labels = ingest->labels;
        if (r >= 0)
                r = commit_begin(ingest, &fault);
        if (r < 0) {
                fault_set_errno(&fault, r, "the ingest can't be committed");
                answer(ingest, r, &fault, /* remove= */ false);
        }
}
