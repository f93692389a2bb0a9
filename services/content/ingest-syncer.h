/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Makes what is hashed outlive the machine's power while more is coming: a thread of its own syncs the bytes
 * now and then, and then the checkpoint that speaks of them. Nobody waits for it. */

#include "lib/macros.h"
#include "services/content/ingest-checkpoint.h"

typedef struct Syncer Syncer;

typedef struct SyncerSpec {
        int data;
        int checkpoint;
        int directory;   /* names these two: synced with the first checkpoint */
        uint64_t offset; /* where the stream goes on */
} SyncerSpec;
int syncer_new(const SyncerSpec *spec, Syncer **ret);
/* Waits for what is going on. */
Syncer *syncer_free(Syncer *syncer);
DEFINE_CLEANUP(Syncer *, syncer_free);

/* The hash stands here, and the bytes are in the file: a sync begins if it is time for one, and none is
 * going on. Returns the first error that there was: bytes are lost then. */
int syncer_offer(Syncer *syncer, const IngestCheckpoint *checkpoint);

/* The same at once and to its end, if that is worth it. */
int syncer_finish(Syncer *syncer, const IngestCheckpoint *checkpoint);

/* Waits for what is going on: the first error. */
int syncer_drain(Syncer *syncer);

/* So many bytes outlive the power. */
uint64_t syncer_durable(Syncer *syncer);
