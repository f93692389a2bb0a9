/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Bytes that arrive in pieces and must not become more than a limit. A NUL follows them always. */

#include <stddef.h>

#include "lib/macros.h"

typedef struct ByteBuffer {
        char *data; /* NULL as long as it is empty */
        size_t size;
        size_t limit;
} ByteBuffer;

/* -EFBIG beyond the limit. */
int byte_buffer_append(ByteBuffer *buffer, const void *data, size_t size);
/* As much of it as fits. */
void byte_buffer_append_some(ByteBuffer *buffer, const void *data, size_t size);
/* Empty again, with the same limit. */
void byte_buffer_clear(ByteBuffer *buffer);
