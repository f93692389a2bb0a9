/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/compress.h"

#include <errno.h>

static const CompressFormat *format_of(Compression compression, bool fast) {
        switch (compression) {
        case COMPRESSION_GZIP:
                return fast ? &compress_gzip_fast : &compress_gzip;
        case COMPRESSION_ZSTD:
                return &compress_zstd;
        default:
                return NULL;
        }
}

int compress_check_level(Compression compression, int level, Fault *fault) {
        const CompressFormat *format = format_of(compression, false);
        if (level == 0)
                return 0;
        if (!format)
                return fault_set(fault, -EINVAL, "without a compression there is no level");
        if (level < format->level_min || level > format->level_max)
                return fault_set(fault, -EINVAL, "the level of %s must be %i to %i",
                                 compression_to_string(compression), format->level_min, format->level_max);
        return 0;
}

int compressor_init(Compressor *compressor, Compression compression, int level, bool reproducible) {
        const CompressFormat *format = format_of(compression, level == 0 && !reproducible);
        *compressor = (Compressor){ .format = format };
        return format ? format->begin(level > 0 ? level : format->level_default, &compressor->state) : 0;
}

int compressor_write(Compressor *compressor, const void *data, size_t size, bool last,
                     const CompressSink *sink) {
        if (compressor->format)
                return compressor->format->write(compressor->state, data, size, last, sink);
        return size > 0 ? sink->write(sink->userdata, data, size) : 0;
}

void compressor_done(Compressor *compressor) {
        if (compressor->state)
                compressor->format->end(compressor->state);
        *compressor = (Compressor){ 0 };
}
