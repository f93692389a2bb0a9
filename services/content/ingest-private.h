/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What ingest.c, ingest-commit.c and ingest-table.c share. */

#include "bus/quota.h"
#include "bus/worker.h"
#include "services/content/blob-store.h"
#include "services/content/ingest-protocol.h"
#include "services/content/ingest.h"

typedef enum IngestPhase {
        INGEST_IDLE,
        INGEST_RECEIVING,
        INGEST_RECEIVED,
        INGEST_SYNCING,
} IngestPhase;

struct Ingest {
        Ingest *next;
        IngestTable *table; /* weak */
        IngestRecord record;
        QuotaHold *hold;
        IngestPhase phase;
        Worker *worker;
        uint64_t offset;
        bool durable;        /* its record outlives the machine's power */
        int error;           /* how the last stream ended, if not well */
        IngestMessage ended; /* from RECEIVED on */

        /* a commit that waits for its answer; committed is NULL if there is none */
        IngestCommitted committed;
        void *userdata;
        IngestPromise promise;
        char **labels; /* those of the promise */
        bool blocked;  /* another ingest is placing the same bytes; its worker may have left meanwhile */
        bool verity;   /* of a commit that waits until nothing is held */
        BlobPlacing placing; /* while SYNCING; its directories are the worker's */
        ContentWaiter waiter;
};

struct IngestTable {
        sd_event *event;
        ContentState *state;
        Ingest *ingests;
        Ingest **ordered; /* the same, by namespace and reference */
        size_t count;
        IngestObserver observer;
        sd_event_source *expiry;
        bool stopping;
        char boot_id[BOOT_ID_SIZE];
};

/* Starts the worker on stream (borrowed). */
int ingest_start_worker(Ingest *ingest, int stream, Fault *fault);
/* What its files say. */
int ingest_read_checkpoint(Ingest *ingest, IngestResume *ret);
/* How many bytes more it may have without a promise, and all that it has at commit. */
int ingest_room(const Ingest *ingest, uint64_t *ret);
/* No worker any longer. */
void ingest_become_idle(Ingest *ingest);
/* The record, the files and the object go. */
int ingest_remove(Ingest *ingest);
/* Takes what the record holds. */
Ingest *ingest_new(IngestTable *table, IngestRecord *record);
void ingest_free(Ingest *ingest);
/* ingest-table.c: it is listed from now on, or no longer; nothing happens if it is not. */
int ingest_table_add(IngestTable *table, Ingest *ingest);
void ingest_table_take_out(IngestTable *table, Ingest *ingest);
void ingest_notify(Ingest *ingest);

/* ingest-commit.c: see ContentState.placing; userdata is the table. */
bool ingest_commit_is_placing(const Digest *digest, void *userdata);
/* The worker has reported. */
void ingest_commit_on_ended(Ingest *ingest);
/* error may also be that the worker is gone. The ingest is idle then, or gone too. seal: as of blob_seal().
 */
void ingest_commit_on_synced(Ingest *ingest, int error, int seal);
/* The worker is gone, or the daemon stops: who waits gets this answer. */
void ingest_commit_fail(Ingest *ingest, int r, const char *why);
