/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/layer-parts.h"

#include <errno.h>
#include <sys/stat.h>

#include "lib/limits.h"

static int decompress_all(const LayerUnpack *unpack, LayerInput *input, ChunkEnd *end, Fault *fault) {
        Decompressor decompressor;
        int r = decompressor_init(&decompressor, unpack->compression, input, fault);
        for (ssize_t n = 1; r >= 0 && n > 0;) {
                uint8_t *chunk = chunk_end_reserve(end);
                n = chunk ? decompressor_read(&decompressor, chunk, CHUNK_SIZE, fault) : -ECANCELED;
                r = n < 0 ? (int) n : chunk_end_publish(end, (size_t) n, input->taken);
        }
        decompressor_done(&decompressor);
        return r == -EPIPE ? -ECANCELED : r;
}

int layer_part_decompress(const LayerUnpack *unpack, ChunkEnd *end, Fault *fault) {
        LayerInput input = { 0 };
        int r = layer_input_init(&input, unpack->layer, unpack->pace.stall_seconds, fault);
        if (r >= 0)
                r = decompress_all(unpack, &input, end, fault);
        layer_input_done(&input);
        return r;
}

static int source_next(void *userdata, const uint8_t **ret_data, size_t *ret_size, Fault *fault) {
        int r = chunk_end_next(userdata, ret_data, ret_size);
        return r == -EPIPE ? -ECANCELED : r;
}

int layer_part_write(const LayerUnpack *unpack, ChunkEnd *end, uint64_t *ret_size, Fault *fault) {
        const LayerSource source = { .next = source_next, .userdata = end };
        (void) umask(0);
        return layer_writer_unpack(unpack->root, source, &unpack->rules, unpack->notes, ret_size, fault);
}
