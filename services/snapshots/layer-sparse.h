/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Where the bytes of a sparse file lie: extents in ascending order, with holes between them. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/fault.h"
#include "services/snapshots/layer-header.h"

#define LAYER_EXTENTS_MAX ((size_t) 1024 * 1024)

typedef struct LayerExtent {
        uint64_t offset;
        uint64_t size;
} LayerExtent;

typedef struct LayerSparse {
        LayerExtent *extents;
        size_t count;
        size_t allocated;
} LayerSparse;

void layer_sparse_done(LayerSparse *sparse);

/* -EBADMSG: negative, before the end of the one before, or too many. */
int layer_sparse_add(LayerSparse *sparse, int64_t offset, int64_t size, Fault *fault);
/* GNU's format 0.1: "offset,size,offset,size". */
int layer_sparse_add_list(LayerSparse *sparse, const char *list, Fault *fault);
/* GNU's old format: the extents of a header (with real_size) or of a block that continues one. 1: one more
 * block follows. */
int layer_sparse_add_header(LayerSparse *sparse, const uint8_t block[LAYER_BLOCK_SIZE], int64_t *real_size,
                            Fault *fault);
int layer_sparse_add_block(LayerSparse *sparse, const uint8_t block[LAYER_BLOCK_SIZE], Fault *fault);

/* The extents hold exactly size bytes, and end before the file does. */
int layer_sparse_check(const LayerSparse *sparse, uint64_t size, uint64_t real_size, Fault *fault);
