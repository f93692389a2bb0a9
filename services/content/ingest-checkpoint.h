/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The file beside the bytes of an ingest that says how many of them are hashed, and the state of the hash
 * there. It is written after the bytes, so that the bytes it speaks of are always there, whoever is killed
 * when; bytes beyond it are cut off when the ingest goes on. */

#include <stdbool.h>
#include <stdint.h>

#include "lib/digest.h"

#define BOOT_ID_SIZE 40

typedef struct IngestCheckpoint {
        char magic[8];
        char boot_id[BOOT_ID_SIZE];
        uint64_t complete; /* the stream was read to its end; it did not break off */
        DigestState state;
} IngestCheckpoint;

void ingest_checkpoint_init(IngestCheckpoint *checkpoint, const char *boot_id, DigestAlgorithm algorithm);

/* In one write; not synced. */
int ingest_checkpoint_write(int fd, const IngestCheckpoint *checkpoint);

/* How an ingest goes on. What another boot has left was not synced: the bytes on disk need not be those that
 * were hashed. They are hashed again, and count only if there is a digest that they will be held against. */
typedef struct IngestResume {
        uint64_t offset; /* bytes that count */
        bool rehash;     /* hash them from the file */
        bool complete;
} IngestResume;

/* data and checkpoint are its files. */
int ingest_checkpoint_read(int checkpoint, int data, IngestCheckpoint *expected, bool has_digest,
                           IngestResume *ret);
