/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A ring of large buffers between one producing thread and several consuming ones: each consumer sees every
 * chunk, in order, without copying. Whoever fails aborts the ring, and everybody else is woken and ends. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/macros.h"

#define CHUNK_SIZE ((size_t) 1024 * 1024)
#define CHUNK_COUNT 6U
#define CHUNK_CONSUMERS_MAX 4U

typedef struct ChunkRing ChunkRing;

int chunk_ring_new(unsigned consumers, ChunkRing **ret);
/* No thread may use it any more. */
ChunkRing *chunk_ring_free(ChunkRing *ring);
DEFINE_CLEANUP(ChunkRing *, chunk_ring_free);

/* The next free chunk of CHUNK_SIZE bytes; waits for one. NULL when the ring was aborted. */
uint8_t *chunk_ring_reserve(ChunkRing *ring);
/* Hands the reserved chunk to the consumers. size 0 is the end of the stream. */
void chunk_ring_publish(ChunkRing *ring, size_t size);

/* Gives back the consumer's current chunk and waits for the next one. False when the ring was aborted; at
 * the end of the stream true with size 0, again and again. */
bool chunk_ring_next(ChunkRing *ring, unsigned consumer, const uint8_t **ret_data, size_t *ret_size);

void chunk_ring_abort(ChunkRing *ring);
