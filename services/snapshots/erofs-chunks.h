/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Files with holes in an EROFS image: in chunks of one size, with a map that says of each where it is, or
 * that it is a hole (Linux 5.15). Neither an image nor who reads or seals it has to do with the holes. */

#include <stddef.h>
#include <stdint.h>

#include "lib/macros.h"

/* Chunks that follow each other, in the file as well as in the image. */
typedef struct ErofsRun {
        uint64_t first;
        uint64_t count;
        uint64_t block; /* of the image, where they begin */
} ErofsRun;

typedef struct ErofsChunks {
        unsigned bits; /* of a chunk's size */
        uint64_t count;
        ErofsRun *runs; /* of those that are no holes */
        size_t run_count;
} ErofsChunks;

/* Copies what is no hole into the image, from *blocks on, which it moves behind that. NULL: it has no holes
 * that were worth a map, and nothing was done. */
int erofs_chunks_take(int file, uint64_t size, int image, uint64_t *blocks, ErofsChunks **ret);
ErofsChunks *erofs_chunks_free(ErofsChunks *chunks);
DEFINE_CLEANUP(ErofsChunks *, erofs_chunks_free);

uint64_t erofs_chunks_map_size(const ErofsChunks *chunks);
/* The map, in the order of the chunks: calls add with so many entries at a time. */
int erofs_chunks_write_map(const ErofsChunks *chunks,
                           int (*add)(void *userdata, const uint32_t *entries, size_t count),
                           void *userdata);
