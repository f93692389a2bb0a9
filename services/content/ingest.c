/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/content/ingest.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/strv.h"
#include "services/content/blob-store.h"
#include "services/content/content-labels.h"
#include "services/content/content-namespace.h"
#include "services/content/ingest-private.h"

#define PIPE_SIZE (1024 * 1024)

const IngestRecord *ingest_record(const Ingest *ingest) {
        return &ingest->record;
}

uint64_t ingest_offset(const Ingest *ingest) {
        return ingest->offset;
}

bool ingest_is_writing(const Ingest *ingest) {
        return ingest->phase == INGEST_RECEIVING;
}

void ingest_notify(Ingest *ingest) {
        const IngestObserver *observer = &ingest->table->observer;
        if (observer->changed)
                observer->changed(ingest, observer->userdata);
}

/* ---- the object ---- */

void ingest_free(Ingest *ingest) {
        ingest_table_take_out(ingest->table, ingest);
        content_waiter_done(&ingest->waiter);
        worker_free(ingest->worker);
        quota_hold_free(ingest->hold);
        ingest_record_done(&ingest->record);
        strv_free(ingest->labels);
        free(ingest);
}

Ingest *ingest_new(IngestTable *table, IngestRecord *record) {
        Ingest *ingest = new0(Ingest, 1);
        if (!ingest)
                return NULL;
        ingest->table = table;
        ingest->record = TAKE(*record, (IngestRecord){ 0 });
        if (ingest_table_add(table, ingest) < 0) {
                *record = TAKE(ingest->record, (IngestRecord){ 0 });
                free(ingest);
                return NULL;
        }
        return ingest;
}

/* The record of a commit has gone already. */
int ingest_remove(Ingest *ingest) {
        const IngestObserver *observer = &ingest->table->observer;
        int r = ingest_record_remove(ingest->table->state, &ingest->record);
        if (r < 0)
                return r;
        ingest_table_take_out(ingest->table, ingest);
        if (observer->removed)
                observer->removed(ingest, observer->userdata);
        ingest_free(ingest);
        return 0;
}

/* ---- the worker ---- */

void ingest_become_idle(Ingest *ingest) {
        bool was_writing = ingest_is_writing(ingest);
        IngestResume resume;

        ingest->worker = worker_free(ingest->worker);
        ingest->phase = INGEST_IDLE;
        if (ingest_read_checkpoint(ingest, &resume) >= 0)
                ingest->offset = resume.offset;
        if (was_writing)
                ingest_notify(ingest);
}

/* Once there is something that outlives the power, its record must, too. */
static void note_durable(Ingest *ingest, const IngestMessage *message) {
        if (ingest->durable || message->durable == 0)
                return;
        int r = ingest_record_make_durable(ingest->table->state, &ingest->record);
        ingest->durable = r >= 0;
}

int ingest_room(const Ingest *ingest, uint64_t *ret) {
        const IngestRecord *record = &ingest->record;
        uint64_t others = ingest_table_bytes(ingest->table, record->namespace, ingest, NULL);
        return content_namespace_room(ingest->table->state, record->namespace, others, ret);
}

/* Several ingests without a promise share what room there is. */
static bool has_room(const Ingest *ingest) {
        uint64_t room;
        return ingest->record.size != INGEST_SIZE_UNKNOWN || ingest_room(ingest, &room) < 0 ||
               ingest->offset <= room;
}

static void worker_on_progress(Ingest *ingest, const IngestMessage *message) {
        ingest->offset = message->bytes;
        note_durable(ingest, message);
        ingest_notify(ingest);
        if (has_room(ingest))
                return;
        ingest_become_idle(ingest);
        ingest->error = -EDQUOT;
        ingest_commit_fail(ingest, -EDQUOT, "the namespace has no room for more bytes");
}

static void worker_on_ended(Ingest *ingest, const IngestMessage *message) {
        ingest->phase = INGEST_RECEIVED;
        ingest->ended = *message;
        ingest->offset = message->bytes;
        ingest->error = message->error == -ENODATA || message->error == -E2BIG ? 0 : message->error;
        if (ingest->error < 0)
                log_warning("ingest '%s' of %s: %s", ingest->record.reference, ingest->record.namespace,
                            strerror(-ingest->error));
        if (ingest->durable)
                (void) ingest_record_touch(ingest->table->state, &ingest->record);
        else
                note_durable(ingest, message);
        ingest_notify(ingest);
        ingest_commit_on_ended(ingest);
}

static void worker_on_message(Worker *worker, const void *data, size_t size, int *fds, size_t fd_count,
                              void *userdata) {
        Ingest *ingest = userdata;
        const IngestMessage *message = data;

        if (size != sizeof(*message))
                return;
        if (message->type == INGEST_PROGRESS && ingest->phase == INGEST_RECEIVING)
                worker_on_progress(ingest, message);
        else if (message->type == INGEST_PROGRESS)
                note_durable(ingest, message);
        else if (message->type == INGEST_ENDED && ingest->phase == INGEST_RECEIVING)
                worker_on_ended(ingest, message);
        else if (message->type == INGEST_SYNCED && ingest->phase == INGEST_SYNCING)
                ingest_commit_on_synced(ingest, message->error, message->seal);
}

static void worker_on_exit(Worker *worker, const siginfo_t *info, void *userdata) {
        Ingest *ingest = userdata;
        if (info->si_code != CLD_EXITED || info->si_status != 0)
                log_warning("the worker of ingest '%s' of %s ended with %s %i", ingest->record.reference,
                            ingest->record.namespace, info->si_code == CLD_EXITED ? "status" : "signal",
                            info->si_status);
        if (ingest->waiter.state)
                return; /* all that is missing is the record, which needs no worker */
        if (ingest->blocked) {
                ingest_become_idle(ingest); /* it is judged by what is known when the other one is done */
                return;
        }
        if (ingest->phase == INGEST_SYNCING) {
                ingest_commit_on_synced(ingest, -EAGAIN, /* seal= */ 0);
                return;
        }
        ingest_become_idle(ingest);
        ingest_commit_fail(ingest, -EAGAIN, "the worker of this ingest died; the ingest can be continued");
}

int ingest_read_checkpoint(Ingest *ingest, IngestResume *ret) {
        _cleanup_close_ int data = -EBADF, checkpoint = -EBADF;
        IngestCheckpoint expected;
        int r = ingest_files_open(ingest->table->state, &ingest->record, &data, &checkpoint);
        if (r < 0)
                return r;
        ingest_checkpoint_init(&expected, ingest->table->boot_id, ingest->record.digest.algorithm);
        return ingest_checkpoint_read(checkpoint, data, &expected, ret);
}

/* For a size that was promised at the beginning there was room then. */
static int start_message(const Ingest *ingest, int data, int checkpoint, IngestMessage *ret) {
        const IngestRecord *record = &ingest->record;
        uint64_t room = UINT64_MAX;
        int r = record->size == INGEST_SIZE_UNKNOWN ? ingest_room(ingest, &room) : 0;
        if (r < 0)
                return r;
        *ret = (IngestMessage){
                .type = INGEST_START,
                .size = record->size,
                .at_most = MIN_OF(record->at_most, room),
                .has_digest = record->has_digest,
                .digest = record->digest,
        };
        ingest_checkpoint_init(&ret->checkpoint, ingest->table->boot_id, record->digest.algorithm);
        return ingest_checkpoint_read(checkpoint, data, &ret->checkpoint, &ret->resume);
}

int ingest_start_worker(Ingest *ingest, int stream, Fault *fault) {
        _cleanup_close_ int data = -EBADF, checkpoint = -EBADF;
        _cleanup_(worker_freep) Worker *worker = NULL;
        IngestMessage start;

        int r = ingest_files_open(ingest->table->state, &ingest->record, &data, &checkpoint);
        if (r >= 0)
                r = start_message(ingest, data, checkpoint, &start);
        if (r < 0)
                return fault_set_errno(fault, r == -ENOENT ? -EIO : r, "the ingest can't be continued");
        WorkerSpec spec = {
                .program = INGEST_PROGRAM,
                .fds = (const int[]){ stream, data, checkpoint, ingest->table->state->ingests },
                .fd_count = 4,
                .on_message = worker_on_message,
                .on_exit = worker_on_exit,
                .userdata = ingest,
        };
        r = worker_new(ingest->table->event, &spec, &worker);
        if (r >= 0)
                r = worker_send(worker, &start, sizeof(start), NULL, 0);
        if (r < 0)
                return fault_set_errno(fault, r, "the worker can't be started");
        ingest->worker = TAKE_PTR(worker);
        ingest->phase = INGEST_RECEIVING;
        ingest->offset = start.resume.offset;
        ingest->error = 0;
        return 0;
}

/* ---- beginning ---- */

static int make_pipe(int ends[2]) {
        if (pipe2(ends, O_CLOEXEC) < 0)
                return -errno;
        /* Only speed: a user who has many pipes is not given large ones. */
        (void) fcntl(ends[1], F_SETPIPE_SZ, PIPE_SIZE);
        return 0;
}

static int check_same_labels(const Ingest *ingest, char *const *labels, Fault *fault) {
        const IngestRecord *record = &ingest->record;
        const Labelled labelled = { LABELLED_INGEST, record->namespace, record->reference };
        int r = labels ? content_labels_are(ingest->table->state, &labelled, labels, fault) : 1;
        return r == 0 ? fault_set(fault, -EBUSY, "this ingest was begun with other labels") : r;
}

static int check_continuable(const Ingest *ingest, const IngestRequest *request, Fault *fault) {
        const IngestRecord *record = &ingest->record;
        if (ingest->phase == INGEST_RECEIVING)
                return fault_set(fault, -EBUSY, "somebody else is writing to this ingest");
        if (ingest->committed)
                return fault_set(fault, -EBUSY, "this ingest is being committed");
        if (request->restart)
                return 0;
        if (request->has_digest && !(record->has_digest && digest_equal(&record->digest, &request->digest)))
                return fault_set(fault, -EBUSY, "this ingest was begun with another digest");
        if (request->has_algorithm && request->digest.algorithm != record->digest.algorithm)
                return fault_set(fault, -EBUSY, "this ingest was begun with %s",
                                 digest_algorithm_to_string(record->digest.algorithm));
        if (request->size != INGEST_SIZE_UNKNOWN && request->size != record->size)
                return fault_set(fault, -EBUSY, "this ingest was begun with another size");
        /* Where a size is known from the beginning, that is the limit for whoever knows none. */
        if (request->at_most != INGEST_SIZE_UNKNOWN && record->size == INGEST_SIZE_UNKNOWN &&
            request->at_most != record->at_most)
                return fault_set(fault, -EBUSY, "this ingest was begun with another 'at-most'");
        return check_same_labels(ingest, request->labels, fault);
}

static int table_room(IngestTable *table, const char *namespace, uint64_t *ret) {
        uint64_t others = ingest_table_bytes(table, namespace, NULL, NULL);
        return content_namespace_room(table->state, namespace, others, ret);
}

static int check_room(IngestTable *table, const IngestRequest *request, Fault *fault) {
        uint64_t room;
        Blob blob;
        int r = table_room(table, request->namespace, &room);
        if (r < 0 || room == UINT64_MAX)
                return r;
        bool has_it = request->has_digest &&
                      blob_find(table->state, request->namespace, &request->digest, &blob) >= 0;
        r = content_namespace_check(table->state, request->namespace, NAMESPACE_BLOBS, !has_it, fault);
        if (r < 0)
                return r;
        if (room == 0 || (request->size != INGEST_SIZE_UNKNOWN && request->size > room))
                return fault_set(fault, -EDQUOT, "the namespace %s has room for %llu more bytes",
                                 request->namespace, (unsigned long long) room);
        return 0;
}

static int ingest_begin(IngestTable *table, const IngestRequest *request, Ingest **ret, Fault *fault) {
        _cleanup_(quota_hold_freep) QuotaHold *hold = NULL;
        _cleanup_(ingest_record_done) IngestRecord record = {
                .namespace = strdup(request->namespace),
                .reference = strdup(request->reference),
                .has_digest = request->has_digest,
                .digest = request->digest,
                .size = request->size,
                .at_most = request->at_most,
                .uid = request->uid,
        };
        if (!record.namespace || !record.reference)
                return -ENOMEM;
        int r = check_room(table, request, fault);
        if (r < 0)
                return r;
        r = quota_hold_new(request->uid, QUOTA_INGESTS, &hold);
        if (r < 0)
                return fault_set(fault, r, "user %u has as many ingests as one may have", request->uid);
        r = ingest_record_add(table->state, &record, request->labels, fault);
        if (r < 0)
                return fault_set_errno(fault, r, "the ingest can't be begun");
        Ingest *ingest = ingest_new(table, &record);
        if (!ingest) {
                (void) ingest_record_remove(table->state, &record);
                return -ENOMEM;
        }
        ingest->hold = TAKE_PTR(hold);
        *ret = ingest;
        return 0;
}

static int ingest_take_up(IngestTable *table, const IngestRequest *request, Ingest **ret, bool *ret_new,
                          Fault *fault) {
        Ingest *ingest = ingest_table_find(table, request->namespace, request->reference);
        int r = ingest ? check_continuable(ingest, request, fault) : 0;
        if (r >= 0 && ingest && request->restart) {
                r = ingest_remove(ingest);
                ingest = NULL;
        }
        if (r < 0)
                return r;
        *ret_new = !ingest;
        if (!ingest)
                return ingest_begin(table, request, ret, fault);
        if (ingest->phase != INGEST_IDLE)
                ingest_become_idle(ingest);
        (void) ingest_record_touch(table->state, &ingest->record);
        *ret = ingest;
        return 0;
}

/* -EEXIST if the namespace has the blob, or gets it as it is shared. Damaged bytes are to come again. */
static int check_new(IngestTable *table, const IngestRequest *request, Fault *fault) {
        ContentState *state = table->state;
        uint64_t room;
        Blob blob;
        int r = blob_find(state, request->namespace, &request->digest, &blob);
        if (r >= 0 && blob.damaged)
                return 0;
        if (r >= 0) {
                blob_renew(state, request->namespace, &request->digest);
                return fault_set(fault, -EEXIST, "the namespace has this blob already");
        }
        if (r == -ENOENT)
                r = table_room(table, request->namespace, &room);
        if (r >= 0)
                r = blob_grant_shared(state, request->namespace, &request->digest, room, fault);
        return r > 0 ? fault_set(fault, -EEXIST, "the namespace has this blob now: another one shares it")
                     : r;
}

int ingest_open_stream(IngestTable *table, const IngestRequest *request, Ingest **ret, Fault *fault) {
        const IngestObserver *observer = &table->observer;
        Ingest *ingest = NULL;
        bool is_new = false;
        int ends[2];

        if (table->stopping)
                return fault_set(fault, -EAGAIN, "the service stops: call again");
        int r = request->has_digest ? check_new(table, request, fault) : 0;
        if (r < 0)
                return r;
        r = ingest_take_up(table, request, &ingest, &is_new, fault);
        if (r < 0)
                return r;
        r = make_pipe(ends);
        if (r >= 0) {
                r = ingest_start_worker(ingest, ends[0], fault);
                fd_close(ends[0]);
                if (r < 0)
                        fd_close(ends[1]);
        }
        if (r < 0) {
                if (is_new && ingest_record_remove(table->state, &ingest->record) >= 0)
                        ingest_free(ingest);
                return r;
        }
        if (is_new && observer->added)
                observer->added(ingest, observer->userdata);
        else if (!is_new)
                ingest_notify(ingest);
        *ret = ingest;
        return ends[1];
}

int ingest_abort(Ingest *ingest, Fault *fault) {
        if (ingest->phase == INGEST_SYNCING)
                return fault_set(fault, -EBUSY, "this ingest is being committed");
        ingest_commit_fail(ingest, -ECANCELED, "the ingest was aborted");
        return ingest_remove(ingest);
}
