/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The records of ingests that are not committed yet, and their files: the bytes, and how far they are
 * hashed. The record comes before the files and goes before them: whatever an end in the middle leaves of
 * the one without the other, the next start removes. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/digest.h"
#include "services/content/content-state.h"

#define INGEST_SIZE_UNKNOWN UINT64_MAX
#define INGEST_EXPIRY_USEC (UINT64_C(24) * 3600 * 1000000)

typedef struct IngestRecord {
        int64_t number;
        char *namespace;
        char *reference;
        bool has_digest;
        Digest digest;    /* promised; without one only the algorithm counts */
        uint64_t size;    /* promised, or INGEST_SIZE_UNKNOWN */
        uint64_t at_most; /* of bytes, or INGEST_SIZE_UNKNOWN */
        uint64_t started; /* microseconds since 1970 */
        uint64_t touched; /* when its stream last began or ended */
        uid_t uid;        /* who began it, and whose share it counts against */
} IngestRecord;

void ingest_record_done(IngestRecord *record);

/* Printable, 1 to LIMIT_INGEST_REFERENCE_LENGTH bytes. */
bool ingest_reference_is_valid(const char *reference);

/* Gives record its number and times. labels: what the blob will have. -EEXIST: the namespace has an ingest
 * of that name. */
int ingest_record_add(ContentState *state, IngestRecord *record, char *const *labels, Fault *fault);
int ingest_record_touch(ContentState *state, IngestRecord *record);
/* As ingest_record_touch(); from then on the record outlives the machine's power. */
int ingest_record_make_durable(ContentState *state, IngestRecord *record);
int ingest_record_remove(ContentState *state, const IngestRecord *record);

/* Calls visit() for each; what it takes out of the record is its own, ingest_record_done() gets the rest. */
typedef int (*IngestVisit)(IngestRecord *record, void *userdata);
int ingest_record_visit_all(ContentState *state, IngestVisit visit, void *userdata);
/* The same for up to limit behind that number, in their order. 1 if there may be more. */
int ingest_record_visit(ContentState *state, uint64_t after, uint32_t limit, IngestVisit visit,
                        void *userdata);
bool ingest_record_is_expired(const IngestRecord *record, uint64_t now);

/* Both for reading and writing; the bytes only for reading if they have fs-verity, which they get when all
 * of them are there. */
int ingest_files_open(ContentState *state, const IngestRecord *record, int *ret_data, int *ret_checkpoint);
/* The name of the bytes in state->ingests. */
#define INGEST_NAME_SIZE 32
const char *ingest_data_name(const IngestRecord *record, char buffer[INGEST_NAME_SIZE]);

bool ingest_data_is_sealed(ContentState *state, const IngestRecord *record);

/* The bytes become a blob of the namespace: the blob's record and labels are written, leases that name the
 * ingest name the blob, and the ingest's record goes; all of that or nothing. The files of the ingest are
 * removed. */
typedef struct IngestBlob {
        const Digest *digest;
        uint64_t size;
        bool placed;         /* the bytes are new in the store, or in the place of damaged ones */
        bool verity;         /* of placed ones */
        char *const *labels; /* besides those that the ingest was begun with */
} IngestBlob;
int ingest_record_commit(ContentState *state, const IngestRecord *record, const IngestBlob *blob,
                         Fault *fault);

/* After an end that was not orderly: removes files that no record names, and records whose files are not
 * there or can neither be written to nor have fs-verity. Before the ingests are taken up. */
int ingest_store_sweep(ContentState *state);
