/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Hashing beside the writing: one thread puts bytes into the file, and another hashes them there, out of the
 * page cache: what is hashed is what is stored. The hashing one also writes the checkpoints, so they never
 * speak of bytes that are not written. */

#include <stdint.h>

#include "lib/macros.h"
#include "services/content/ingest-checkpoint.h"
#include "services/content/ingest-syncer.h"

/* What is worth waking the other thread for. */
#define HASHER_PIECE (1024U * 1024U)

typedef struct Hasher Hasher;

/* checkpoint is where the hash stands; checkpoint_fd is where it is written to. syncer (borrowed) is told of
 * each one that is written. */
int hasher_new(const IngestCheckpoint *checkpoint, int checkpoint_fd, int data_fd, Syncer *syncer,
               Hasher **ret);
Hasher *hasher_free(Hasher *hasher);
DEFINE_CLEANUP(Hasher *, hasher_free);

/* So many more bytes are in the file. Waits while the hash is far behind. */
int hasher_push(Hasher *hasher, size_t size);

/* Waits until all is hashed, writes the checkpoint and gives it. */
int hasher_drain(Hasher *hasher, bool complete, IngestCheckpoint *ret);
