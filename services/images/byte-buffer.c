/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/images/byte-buffer.h"

#include <errno.h>
#include <string.h>

int byte_buffer_append(ByteBuffer *buffer, const void *data, size_t size) {
        if (size > buffer->limit - buffer->size)
                return -EFBIG;
        char *larger = realloc(buffer->data, buffer->size + size + 1);
        if (!larger)
                return -ENOMEM;
        memcpy(larger + buffer->size, data, size);
        buffer->data = larger;
        buffer->size += size;
        buffer->data[buffer->size] = '\0';
        return 0;
}

void byte_buffer_append_some(ByteBuffer *buffer, const void *data, size_t size) {
        (void) byte_buffer_append(buffer, data, MIN_OF(size, buffer->limit - buffer->size));
}

void byte_buffer_clear(ByteBuffer *buffer) {
        buffer->data = mfree(buffer->data);
        buffer->size = 0;
}
