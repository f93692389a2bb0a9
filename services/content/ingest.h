/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The ingests that there are, each with its worker while somebody writes or commits.
 *
 *   IDLE ------ ingest_open_stream() ----> RECEIVING --- end of the stream ---> RECEIVED
 *    ^  \____ commit of what is whole _______/^                                  |
 *    |                                                    commit: right, and the blob is new
 *    |<------- the worker ended or died ------------------------------------+----v
 *    |<------- a step failed (no space): all is as before ------------------ SYNCING ---> record, gone
 */

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "lib/fault.h"
#include "services/content/ingest-store.h"

typedef struct Ingest Ingest;
typedef struct IngestTable IngestTable;

/* Tells who shows the ingests to others. */
typedef struct IngestObserver {
        void (*added)(Ingest *ingest, void *userdata);
        void (*changed)(Ingest *ingest, void *userdata); /* offset or writing, at most five times a second */
        void (*removed)(Ingest *ingest, void *userdata); /* is not found any longer */
        void *userdata;
} IngestObserver;

/* Takes up those that are recorded, drops those that are expired, and looks again every few minutes. */
int ingest_table_new(sd_event *event, ContentState *state, IngestTable **ret, Fault *fault);
IngestTable *ingest_table_free(IngestTable *table);
DEFINE_CLEANUP(IngestTable *, ingest_table_free);
void ingest_table_observe(IngestTable *table, const IngestObserver *observer);

/* Some ingest has a worker. */
bool ingest_table_is_busy(const IngestTable *table);
/* Something is placed in the store that is not recorded yet. */
bool ingest_table_is_syncing(const IngestTable *table);
/* Ends all streams so that they can be continued, and begins no other; what is being synced is finished. */
void ingest_table_stop(IngestTable *table);

Ingest *ingest_table_find(IngestTable *table, const char *namespace, const char *reference);
/* The first one behind these names, by namespace and reference. */
Ingest *ingest_table_behind(IngestTable *table, const char *namespace, const char *reference);
/* The next one; NULL begins. */
Ingest *ingest_table_next(IngestTable *table, Ingest *previous);

/* How many bytes are arriving in a namespace, promised or there, but for one ingest (NULL: none); and in how
 * many ingests (may be NULL). */
uint64_t ingest_table_bytes(const IngestTable *table, const char *namespace, const Ingest *except,
                            uint64_t *ret_count);

const IngestRecord *ingest_record(const Ingest *ingest);
uint64_t ingest_offset(const Ingest *ingest);
bool ingest_is_writing(const Ingest *ingest);

typedef struct IngestRequest {
        const char *namespace;
        const char *reference;
        bool has_digest;
        bool has_algorithm; /* somebody asked for that of the digest */
        Digest digest;      /* without a promise only its algorithm counts */
        uint64_t size;      /* or INGEST_SIZE_UNKNOWN */
        uint64_t at_most;   /* or INGEST_SIZE_UNKNOWN; kept from the beginning */
        bool restart;
        char *const *labels; /* of a new one: what its blob will have */
        uid_t uid;
} IngestRequest;

/* Begins or continues one: the write end of its stream. Outcomes: -EEXIST the namespace has the digest,
 * -EBUSY, -EDQUOT, -ENOSPC. */
int ingest_open_stream(IngestTable *table, const IngestRequest *request, Ingest **ret, Fault *fault);

/* Answers exactly once, possibly before it returns. The ingest is gone then if r >= 0, -EUCLEAN, -ECANCELED
 * or if it had more bytes than promised. */
typedef void (*IngestCommitted)(int r, const Fault *fault, const Digest *digest, uint64_t size,
                                void *userdata);
typedef struct IngestPromise {
        bool has_digest;
        Digest digest;
        uint64_t size;       /* or INGEST_SIZE_UNKNOWN */
        char *const *labels; /* copied */
} IngestPromise;
void ingest_commit(Ingest *ingest, const IngestPromise *promise, IngestCommitted committed, void *userdata);

/* -EBUSY while it is being committed. */
int ingest_abort(Ingest *ingest, Fault *fault);
