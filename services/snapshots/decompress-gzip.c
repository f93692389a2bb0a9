/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/decompress.h"

#include <errno.h>
#include <isa-l/igzip_lib.h>

/* RFC 1952, section 2.3 */
#define HEADER_SIZE 10
#define HEADER_FLAGS 3
#define HEADER_HAS_CHECKSUM 2
#define HEADER_SIZE_MAX 4096

/* ISA-L inflates more than twice as fast as zlib. It checks each member's CRC-32 and length itself. */
typedef struct GzipState {
        struct inflate_state inflate;
        uint64_t members; /* that were begun */
        bool in_member;
        bool padding; /* zeros after the last member, as tapes have them */
} GzipState;

static int gzip_begin(void **ret_state, Fault *fault) {
        GzipState *state = new0(GzipState, 1);
        if (!state)
                return fault_set_errno(fault, -ENOMEM, "Can't inflate");
        isal_inflate_init(&state->inflate);
        *ret_state = state;
        return 0;
}

static void gzip_end(void *state) {
        free(state);
}

static const char *inflate_error(int r) {
        switch (r) {
        case ISAL_INVALID_BLOCK:
                return "a damaged block";
        case ISAL_INVALID_SYMBOL:
                return "a symbol that does not exist";
        case ISAL_INVALID_LOOKBACK:
                return "a reference to before the beginning";
        case ISAL_INVALID_WRAPPER:
                return "a damaged header";
        case ISAL_UNSUPPORTED_METHOD:
                return "an unknown method";
        case ISAL_INCORRECT_CHECKSUM:
                return "a wrong checksum";
        default:
                return "damaged data";
        }
}

/* Where no member is open: opens the next one, or finds the end. 1 a member is open, 0 end of the stream. */
static int gzip_next_member(GzipState *state, LayerInput *input, Fault *fault) {
        for (;;) {
                int r = layer_input_fill(input, fault);
                if (r < 0)
                        return r;
                if (r == 0)
                        return state->members > 0
                                       ? 0
                                       : fault_set(fault, -EBADMSG, "The gzip stream of the layer is empty");
                if (state->members == 0 || (input->next[0] == 0x1f && !state->padding))
                        break;
                if (input->next[0] != 0)
                        return fault_set(fault, -EBADMSG, "The gzip stream of the layer ends with garbage");
                state->padding = true;
                input->next++;
                input->available--;
        }
        /* ISA-L 2.30 miscounts the checksum of a header (FHCRC) that comes in pieces. */
        int r = layer_input_peek(input, HEADER_SIZE, fault);
        if (r >= 0 && input->available >= HEADER_SIZE && input->next[HEADER_FLAGS] & HEADER_HAS_CHECKSUM)
                r = layer_input_peek(input, HEADER_SIZE_MAX, fault);
        if (r < 0)
                return r;
        isal_inflate_reset(&state->inflate);
        state->inflate.crc_flag = ISAL_GZIP;
        state->members++;
        state->in_member = true;
        return 1;
}

static ssize_t gzip_read(void *userdata, LayerInput *input, uint8_t *out, size_t size, Fault *fault) {
        GzipState *state = userdata;
        struct inflate_state *inflate = &state->inflate;

        for (;;) {
                int r = state->in_member ? 1 : gzip_next_member(state, input, fault);
                if (r <= 0)
                        return r;
                r = layer_input_fill(input, fault);
                if (r < 0)
                        return r;
                bool at_end = r == 0;

                inflate->next_in = (uint8_t *) input->next;
                inflate->avail_in = (uint32_t) input->available;
                inflate->next_out = out;
                inflate->avail_out = (uint32_t) MIN_OF(size, (size_t) UINT32_MAX);
                r = isal_inflate(inflate);
                input->next = inflate->next_in;
                input->available = inflate->avail_in;
                if (r < 0)
                        return fault_set(fault, -EBADMSG, "The gzip stream of the layer has %s",
                                         inflate_error(r));
                if (inflate->block_state == ISAL_BLOCK_FINISH)
                        state->in_member = false;
                if (inflate->next_out > out)
                        return inflate->next_out - out;
                if (at_end && state->in_member)
                        return fault_set(fault, -EBADMSG, "The gzip stream of the layer is truncated");
        }
}

const DecompressFormat decompress_gzip = { gzip_begin, gzip_read, gzip_end };
