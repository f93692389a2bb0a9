/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The two processes of layer-unpack.h that read foreign bytes. */

#include "services/snapshots/chunk-pipe.h"
#include "services/snapshots/layer-unpack.h"

/* What such a process does with its end, and says in the end: -ECANCELED when the other side is gone. */
int layer_part_decompress(const LayerUnpack *unpack, ChunkEnd *end, Fault *fault);
int layer_part_write(const LayerUnpack *unpack, ChunkEnd *end, uint64_t *ret_size, Fault *fault);
