/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The compressed bytes of a layer from a file or pipe, buffered. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/fault.h"
#include "lib/macros.h"

typedef struct LayerInput {
        int fd; /* borrowed */
        bool is_regular;
        bool at_end;
        bool may_pause;    /* -EAGAIN when nothing arrives for a moment */
        int stall_seconds; /* a stream that is silent for so long has failed; 0: waits for ever */
        uint8_t *buffer;
        const uint8_t *next;
        size_t available;
        uint64_t taken; /* bytes read from the descriptor so far */
} LayerInput;

int layer_input_init(LayerInput *input, int fd, int stall_seconds, Fault *fault);
void layer_input_done(LayerInput *input);

/* Reads more if nothing is available: 1 bytes are available, 0 end of the stream. Outcome: -EAGAIN, if it
 * may pause. */
int layer_input_fill(LayerInput *input, Fault *fault);
/* Tries to have at least count (few) bytes, as far as the stream has them. */
int layer_input_peek(LayerInput *input, size_t count, Fault *fault);
/* Past the buffer, which is empty. 0 at the end; -EAGAIN as above. */
ssize_t layer_input_read(LayerInput *input, uint8_t *to, size_t size, Fault *fault);
