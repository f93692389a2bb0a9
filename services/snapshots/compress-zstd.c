/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <zstd.h>

#include "services/snapshots/compress.h"

#define OUT_SIZE ((size_t) 256 * 1024)

typedef struct ZstdState {
        ZSTD_CCtx *context;
        char out[OUT_SIZE];
} ZstdState;

static void zstd_end(void *userdata) {
        ZstdState *state = userdata;
        (void) ZSTD_freeCCtx(state->context);
        free(state);
}

static int zstd_begin(int level, void **ret_state) {
        ZstdState *state = new0(ZstdState, 1);
        if (!state)
                return -ENOMEM;
        state->context = ZSTD_createCCtx();
        if (!state->context ||
            ZSTD_isError(ZSTD_CCtx_setParameter(state->context, ZSTD_c_compressionLevel, level)) ||
            ZSTD_isError(ZSTD_CCtx_setParameter(state->context, ZSTD_c_checksumFlag, 1))) {
                zstd_end(state);
                return -ENOMEM;
        }
        *ret_state = state;
        return 0;
}

static int zstd_write(void *userdata, const void *data, size_t size, bool last, const CompressSink *sink) {
        ZstdState *state = userdata;
        ZSTD_inBuffer in = { .src = data, .size = size };
        size_t left;
        do {
                ZSTD_outBuffer out = { .dst = state->out, .size = sizeof(state->out) };
                left = ZSTD_compressStream2(state->context, &out, &in, last ? ZSTD_e_end : ZSTD_e_continue);
                if (ZSTD_isError(left))
                        return -EIO;
                int r = out.pos > 0 ? sink->write(sink->userdata, state->out, out.pos) : 0;
                if (r < 0)
                        return r;
        } while (last ? left > 0 : in.pos < in.size);
        return 0;
}

const CompressFormat compress_zstd = {
        .level_min = 1,
        .level_max = 19,
        .level_default = 3,
        .begin = zstd_begin,
        .write = zstd_write,
        .end = zstd_end,
};
