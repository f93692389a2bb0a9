/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One stream of decompressed bytes from a LayerInput: none, gzip (any number of members) or zstd (any number
 * of frames). A truncated stream, a wrong checksum or garbage after the end is -EBADMSG with a sentence. */

#include <sys/types.h>

#include "lib/fault.h"
#include "lib/macros.h"
#include "lib/media-type.h"
#include "services/snapshots/layer-input.h"

/* In the place of a compression: by the first bytes. */
#define COMPRESSION_AUTO ((Compression) _COMPRESSION_MAX)

/* What one format does; state is its own. */
typedef struct DecompressFormat {
        int (*begin)(void **ret_state, Fault *fault);
        /* Up to size bytes; 0 at the end of the stream. */
        ssize_t (*read)(void *state, LayerInput *input, uint8_t *out, size_t size, Fault *fault);
        void (*end)(void *state);
} DecompressFormat;

extern const DecompressFormat decompress_gzip;
extern const DecompressFormat decompress_zstd;

typedef struct Decompressor {
        const DecompressFormat *format; /* NULL: not compressed */
        void *state;
        LayerInput *input; /* weak */
} Decompressor;

int decompressor_init(Decompressor *decompressor, Compression compression, LayerInput *input, Fault *fault);
void decompressor_done(Decompressor *decompressor);

/* size bytes, fewer only before the end or before a pause of the stream; 0 at the end. */
ssize_t decompressor_read(Decompressor *decompressor, uint8_t *out, size_t size, Fault *fault);
