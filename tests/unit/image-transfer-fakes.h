/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Content, Snapshots and a fetch worker as test-image-transfer.c gives them to transfers: what they are
 * asked waits in a queue, and happens one thing after the other. */

#include <stdbool.h>

#include "services/images/fetch-client.h"
#include "services/images/store-client.h"

#define FAKE_THINGS_MAX 256

typedef struct FakeBlob {
        char namespace[32];
        char digest[160];
        bool is_ingest;
        bool is_damaged;
        bool is_found; /* and that is known */
        unsigned stamp;
} FakeBlob;

typedef struct FakeSnapshot {
        char namespace[32];
        char key[256];
        char parent[160];
        bool is_unpacked;
        bool is_damaged;
        unsigned stamp;
} FakeSnapshot;

typedef struct FakeContainer {
        char id[64];
        char snapshot[256];
        char parent[160];
        char image[160];
} FakeContainer;

/* What the registry has; the test fills it. */
typedef struct FakeDocument {
        char digest[160];
        char *data;
        size_t size;
        bool is_wrong; /* other bytes arrive */
} FakeDocument;

typedef struct FakeEpoch {
        unsigned number; /* 0: none */
        bool held;
        bool changed;
} FakeEpoch;

/* Snapshots and Content, as collections count them. */
#define FAKE_OWNERS 2
#define FAKE_EPOCHS_MAX 4

typedef struct FakeWorld {
        FakeBlob blobs[FAKE_THINGS_MAX];
        size_t blob_count;
        FakeSnapshot snapshots[FAKE_THINGS_MAX];
        size_t snapshot_count;
        FakeDocument documents[FAKE_THINGS_MAX];
        size_t document_count;
        FakeContainer containers[FAKE_THINGS_MAX];
        size_t container_count;
        char records[1024]; /* Content's list, instead of what is there */
        char more[4096];    /* further ones in it: fake_world_keep() */
        unsigned stamps;
        FakeEpoch epochs[FAKE_OWNERS][FAKE_EPOCHS_MAX];
        unsigned sweep_max;                     /* things that one Sweep looks at; 0: all */
        unsigned sweeps;                        /* calls of it */
        char touched[FAKE_THINGS_MAX * 4][256]; /* while an epoch is open */
        size_t touched_count;
        unsigned gets;    /* of the registry */
        unsigned commits; /* of snapshots */
        unsigned fail_at; /* this call of a store fails, counted from 1; 0: none */
        unsigned calls;
        unsigned fail_document_at; /* the same for documents that are read */
        unsigned documents_read;
        const char *broken_rule; /* what was asked in a wrong order */
} FakeWorld;

extern FakeWorld world;

void fake_world_reset(void);
const char *fake_world_add_document(const void *data, size_t size);
FakeDocument *fake_world_find_document(const char *digest);
bool fake_world_has_blob(const char *namespace, const char *digest);
FakeSnapshot *fake_world_find_snapshot(const char *namespace, const char *key);
unsigned fake_world_count_unfinished(void);
unsigned fake_world_count_ingests(void);

bool fake_world_has_epochs(void);
/* As when the owners die. */
void fake_world_end_epochs(void);
/* Records of what keeps things from now on, in Content's list; false if somebody holds: it has to wait. */
bool fake_world_keep(const char *records);

/* One thing of the queue; false if it is empty. */
bool fake_world_step(void);
/* image-document-fakes.c: one document that waits to be read. */
bool fake_document_step(void);
