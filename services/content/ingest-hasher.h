/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Hashing beside the writing: a ring of buffers that one thread fills and writes to the file, and another
 * hashes. The hashing one also writes the checkpoints, so they never speak of bytes that are not written. */

#include <stdint.h>

#include "lib/macros.h"
#include "services/content/ingest-checkpoint.h"

#define HASHER_BUFFER_SIZE (1024U * 1024U)

typedef struct Hasher Hasher;

/* checkpoint is where the hash stands; fd is where it is written to. */
int hasher_new(const IngestCheckpoint *checkpoint, int fd, Hasher **ret);
Hasher *hasher_free(Hasher *hasher);
DEFINE_CLEANUP(Hasher *, hasher_free);

/* The next buffer to fill, of HASHER_BUFFER_SIZE: waits until there is one. Negative errno if a checkpoint
 * could not be written. */
int hasher_get_buffer(Hasher *hasher, uint8_t **ret);
/* So many of its bytes are in the file, and to be hashed. */
int hasher_push(Hasher *hasher, size_t size);

/* Waits until all is hashed, writes the checkpoint and gives it. */
int hasher_drain(Hasher *hasher, bool complete, IngestCheckpoint *ret);
