/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/decompress.h"

#include <errno.h>
#include <string.h>

/* RFC 1952 section 2.3.1, RFC 8878 sections 3.1.1 and 3.1.2 (a stream may begin with a skippable frame). */
static Compression compression_detect(const uint8_t *data, size_t size) {
        static const uint8_t gzip[] = { 0x1f, 0x8b }, zstd[] = { 0x28, 0xb5, 0x2f, 0xfd },
                             skippable[] = { 0x2a, 0x4d, 0x18 };
        if (size >= sizeof(gzip) && memcmp(data, gzip, sizeof(gzip)) == 0)
                return COMPRESSION_GZIP;
        if (size >= sizeof(zstd) && memcmp(data, zstd, sizeof(zstd)) == 0)
                return COMPRESSION_ZSTD;
        if (size >= 4 && (data[0] & 0xf0) == 0x50 && memcmp(data + 1, skippable, sizeof(skippable)) == 0)
                return COMPRESSION_ZSTD;
        return COMPRESSION_NONE;
}

int decompressor_init(Decompressor *decompressor, Compression compression, LayerInput *input, Fault *fault) {
        *decompressor = (Decompressor){ .input = input };
        if (compression == COMPRESSION_AUTO) {
                int r = layer_input_peek(input, 4, fault);
                if (r < 0)
                        return r;
                compression = compression_detect(input->next, input->available);
        }
        if (compression == COMPRESSION_NONE)
                return 0;
        decompressor->format = compression == COMPRESSION_GZIP ? &decompress_gzip : &decompress_zstd;
        return decompressor->format->begin(&decompressor->state, fault);
}

void decompressor_done(Decompressor *decompressor) {
        if (decompressor->format && decompressor->state)
                decompressor->format->end(decompressor->state);
        decompressor->state = NULL;
}

/* What was read ahead, and then straight from the file. */
static ssize_t read_plain(LayerInput *input, uint8_t *out, size_t size, Fault *fault) {
        if (input->available == 0)
                return layer_input_read(input, out, size, fault);
        size_t n = MIN_OF(input->available, size);
        memcpy(out, input->next, n);
        input->next += n;
        input->available -= n;
        return (ssize_t) n;
}

ssize_t decompressor_read(Decompressor *decompressor, uint8_t *out, size_t size, Fault *fault) {
        LayerInput *input = decompressor->input;
        size_t done = 0;
        while (done < size) {
                input->may_pause = done > 0;
                ssize_t n = decompressor->format ? decompressor->format->read(decompressor->state, input,
                                                                              out + done, size - done, fault)
                                                 : read_plain(input, out + done, size - done, fault);
                if (n == -EAGAIN && done > 0)
                        break;
                if (n < 0)
                        return n;
                if (n == 0)
                        break;
                done += (size_t) n;
        }
        return (ssize_t) done;
}
