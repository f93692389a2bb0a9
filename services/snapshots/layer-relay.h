/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The process of layer-unpack.h between the two others: it copies what the decompressor made to where nobody
 * else can change it, hashes that, and passes it on; and it keeps the time. */

#include "services/snapshots/chunk-pipe.h"
#include "services/snapshots/layer-unpack.h"

typedef enum LayerSide {
        LAYER_SIDE_NONE,
        LAYER_SIDE_DECOMPRESS,
        LAYER_SIDE_WRITE,
} LayerSide;

typedef struct LayerRelay {
        const LayerUnpack *unpack;
        ChunkEnd from;  /* the decompressor */
        ChunkEnd to;    /* the writer */
        LayerSide gone; /* who ended without a word, if one did */
} LayerRelay;

/* Until the writer has said that all is written, or somebody failed. */
int layer_relay_run(LayerRelay *relay, LayerResult *ret, Fault *fault);
