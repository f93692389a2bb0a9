/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The file beside the bytes of an ingest that says how many of them are hashed, and the state of the hash
 * there: bytes beyond it are cut off when the ingest goes on, so nothing is ever hashed twice.
 *
 * The first place is written after the bytes it speaks of, and is true for whoever reads it in the same
 * boot, whoever was killed when. Two more places are written in turn, each after the bytes have been synced,
 * and synced themselves: what they say is true when the machine has lost its power as well. */

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

/* Of no bytes yet: the state of the hash is the worker's to begin. */
void ingest_checkpoint_init(IngestCheckpoint *checkpoint, const char *boot_id, DigestAlgorithm algorithm);

/* In one write; not synced. */
int ingest_checkpoint_write(int fd, const IngestCheckpoint *checkpoint);

/* Into the place of that turn; returns when it is on the disk. The bytes were synced before. */
int ingest_checkpoint_write_durable(int fd, const IngestCheckpoint *checkpoint, unsigned turn);

/* The first place as a durable one; the bytes were synced before. Gives the count of them. */
int ingest_checkpoint_make_durable(int fd, uint64_t *ret_bytes);

/* How an ingest goes on. */
typedef struct IngestResume {
        uint64_t offset; /* bytes that count */
        bool complete;
} IngestResume;

/* The file is open for reading only: it has fs-verity, so all of its bytes are there, and on the disk. */
bool ingest_data_is_whole(int data);

/* data and checkpoint are its files; *expected becomes what they say. That may be of fewer bytes than
 * ret->offset if the file is whole: these are to be hashed. */
int ingest_checkpoint_read(int checkpoint, int data, IngestCheckpoint *expected, IngestResume *ret);

/* The bytes could not be synced: only what was synced before counts any longer. */
int ingest_checkpoint_fall_back(int checkpoint, int data);
