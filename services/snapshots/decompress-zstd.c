/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/decompress.h"

#include <errno.h>
#include <zstd.h>

/* Frames that want a larger window are refused (RFC 8878 asks for 8 MiB at least; this is the library's own
 * bound). */
#define WINDOW_LOG_MAX 27

typedef struct ZstdState {
        ZSTD_DStream *stream;
        bool in_frame;
        bool seen;
} ZstdState;

static void zstd_end(void *userdata) {
        ZstdState *state = userdata;
        (void) ZSTD_freeDStream(state->stream);
        free(state);
}

static int zstd_begin(void **ret_state, Fault *fault) {
        ZstdState *state = new0(ZstdState, 1);
        if (!state)
                return fault_set_errno(fault, -ENOMEM, "Can't decompress");
        state->stream = ZSTD_createDStream();
        if (!state->stream || ZSTD_isError(ZSTD_initDStream(state->stream)) ||
            ZSTD_isError(ZSTD_DCtx_setParameter(state->stream, ZSTD_d_windowLogMax, WINDOW_LOG_MAX))) {
                zstd_end(state);
                return fault_set_errno(fault, -ENOMEM, "Can't decompress");
        }
        *ret_state = state;
        return 0;
}

static ssize_t zstd_read(void *userdata, LayerInput *input, uint8_t *out, size_t size, Fault *fault) {
        ZstdState *state = userdata;

        for (;;) {
                int r = layer_input_fill(input, fault);
                if (r < 0)
                        return r;
                bool at_end = r == 0;
                if (at_end && !state->in_frame)
                        return state->seen
                                       ? 0
                                       : fault_set(fault, -EBADMSG, "The zstd stream of the layer is empty");

                ZSTD_inBuffer in = { input->next, input->available, 0 };
                ZSTD_outBuffer to = { out, size, 0 };
                size_t left = ZSTD_decompressStream(state->stream, &to, &in);
                if (ZSTD_isError(left))
                        return fault_set(fault, -EBADMSG, "The zstd stream of the layer is damaged: %s",
                                         ZSTD_getErrorName(left));
                input->next += in.pos;
                input->available -= in.pos;
                state->seen = true;
                state->in_frame = left > 0;
                if (to.pos > 0)
                        return (ssize_t) to.pos;
                if (at_end && state->in_frame)
                        return fault_set(fault, -EBADMSG, "The zstd stream of the layer is truncated");
        }
}

const DecompressFormat decompress_zstd = { zstd_begin, zstd_read, zstd_end };
