/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One stream of compressed bytes: none, gzip or zstd. */

#include <stdbool.h>
#include <stddef.h>

#include "lib/fault.h"
#include "lib/macros.h"
#include "lib/media-type.h"

typedef struct CompressSink {
        int (*write)(void *userdata, const void *data, size_t size);
        void *userdata;
} CompressSink;

/* What one format does; state is its own. */
typedef struct CompressFormat {
        int level_min, level_max, level_default;
        int (*begin)(int level, void **ret_state);
        /* last: nothing follows. */
        int (*write)(void *state, const void *data, size_t size, bool last, const CompressSink *sink);
        void (*end)(void *state);
} CompressFormat;

/* ISA-L is several times as fast as zlib, but which bytes come out of it depends on the processor. */
extern const CompressFormat compress_gzip, compress_gzip_fast, compress_zstd;

typedef struct Compressor {
        const CompressFormat *format; /* NULL: not compressed */
        void *state;
} Compressor;

/* level 0: the usual one. reproducible: the same bytes on every machine. */
int compressor_init(Compressor *compressor, Compression compression, int level, bool reproducible);
/* 0, or -EINVAL with a sentence. */
int compress_check_level(Compression compression, int level, Fault *fault);
int compressor_write(Compressor *compressor, const void *data, size_t size, bool last,
                     const CompressSink *sink);
void compressor_done(Compressor *compressor);
