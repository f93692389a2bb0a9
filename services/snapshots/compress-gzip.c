/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <isa-l/igzip_lib.h>
#include <limits.h>
#include <zlib.h>

#include "services/snapshots/compress.h"

#define OUT_SIZE (256U * 1024U)
#define ZLIB_GZIP_WINDOW (15 + 16) /* the largest, with a gzip header */
#define ZLIB_MEMORY 8

/* ---- zlib ---- */

typedef struct GzipState {
        z_stream stream;
        unsigned char out[OUT_SIZE];
} GzipState;

static int gzip_begin(int level, void **ret_state) {
        GzipState *state = new0(GzipState, 1);
        if (!state)
                return -ENOMEM;
        if (deflateInit2(&state->stream, level, Z_DEFLATED, ZLIB_GZIP_WINDOW, ZLIB_MEMORY,
                         Z_DEFAULT_STRATEGY) != Z_OK) {
                free(state);
                return -ENOMEM;
        }
        *ret_state = state;
        return 0;
}

static int gzip_write(void *userdata, const void *data, size_t size, bool last, const CompressSink *sink) {
        GzipState *state = userdata;
        z_stream *stream = &state->stream;
        assert(size <= UINT_MAX);
        stream->next_in = (unsigned char *) data;
        stream->avail_in = (unsigned) size;
        for (int r = Z_OK; r == Z_OK && (stream->avail_in > 0 || last);) {
                stream->next_out = state->out;
                stream->avail_out = OUT_SIZE;
                r = deflate(stream, last ? Z_FINISH : Z_NO_FLUSH);
                if (r != Z_OK && r != Z_STREAM_END)
                        return -EIO;
                size_t made = OUT_SIZE - stream->avail_out;
                int k = made > 0 ? sink->write(sink->userdata, state->out, made) : 0;
                if (k < 0)
                        return k;
        }
        return 0;
}

static void gzip_end(void *userdata) {
        GzipState *state = userdata;
        (void) deflateEnd(&state->stream);
        free(state);
}

const CompressFormat compress_gzip = {
        .level_min = 1,
        .level_max = 9,
        .level_default = 6,
        .begin = gzip_begin,
        .write = gzip_write,
        .end = gzip_end,
};

/* ---- ISA-L ---- */

typedef struct FastState {
        struct isal_zstream stream;
        unsigned char out[OUT_SIZE];
        unsigned char level_buffer[ISAL_DEF_LVL2_DEFAULT];
} FastState;

static int fast_begin(int level, void **ret_state) {
        FastState *state = new0(FastState, 1);
        if (!state)
                return -ENOMEM;
        isal_deflate_init(&state->stream);
        state->stream.level = 2;
        state->stream.level_buf = state->level_buffer;
        state->stream.level_buf_size = sizeof(state->level_buffer);
        state->stream.gzip_flag = IGZIP_GZIP;
        *ret_state = state;
        return 0;
}

static int fast_write(void *userdata, const void *data, size_t size, bool last, const CompressSink *sink) {
        FastState *state = userdata;
        struct isal_zstream *stream = &state->stream;
        assert(size <= UINT32_MAX);
        stream->next_in = (uint8_t *) data;
        stream->avail_in = (uint32_t) size;
        stream->end_of_stream = last;
        do {
                stream->next_out = state->out;
                stream->avail_out = OUT_SIZE;
                if (isal_deflate(stream) != COMP_OK)
                        return -EIO;
                size_t made = OUT_SIZE - stream->avail_out;
                int r = made > 0 ? sink->write(sink->userdata, state->out, made) : 0;
                if (r < 0)
                        return r;
        } while (stream->avail_in > 0 || stream->avail_out == 0 ||
                 (last && stream->internal_state.state != ZSTATE_END));
        return 0;
}

const CompressFormat compress_gzip_fast = {
        .level_min = 1,
        .level_max = 1,
        .level_default = 1,
        .begin = fast_begin,
        .write = fast_write,
        .end = free,
};
