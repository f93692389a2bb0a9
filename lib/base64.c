/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/base64.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int base64_encode(const void *data, size_t size, char **ret) {
        const uint8_t *p = data;
        size_t length;
        if (__builtin_mul_overflow((size + 2) / 3, 4U, &length) || length == SIZE_MAX)
                return -ENOMEM;
        char *string = malloc(length + 1), *out = string;
        if (!string)
                return -ENOMEM;
        for (size_t i = 0; i < size; i += 3) {
                size_t n = MIN_OF(size - i, 3U);
                uint32_t bits = (uint32_t) p[i] << 16;
                if (n > 1)
                        bits |= (uint32_t) p[i + 1] << 8;
                if (n > 2)
                        bits |= p[i + 2];
                *out++ = alphabet[bits >> 18];
                *out++ = alphabet[bits >> 12 & 63];
                *out++ = n > 1 ? alphabet[bits >> 6 & 63] : '=';
                *out++ = n > 2 ? alphabet[bits & 63] : '=';
        }
        *out = '\0';
        *ret = string;
        return 0;
}

/* Four characters into one to three bytes; their number. Only the last four may be padded. */
static int decode_group(const char group[4], bool is_last, uint8_t out[3]) {
        int count = is_last && group[3] == '=' ? (group[2] == '=' ? 1 : 2) : 3;
        uint32_t bits = 0;
        for (int i = 0; i < 4; i++) {
                const char *place = i <= count ? memchr(alphabet, group[i], sizeof(alphabet) - 1) : alphabet;
                if (!place)
                        return -EINVAL;
                bits = bits << 6 | (uint32_t) (place - alphabet);
        }
        if (count < 3 && (bits & (0xffffU >> (8 * (count - 1)))))
                return -EINVAL;
        for (int i = 0; i < count; i++)
                out[i] = (uint8_t) (bits >> (16 - 8 * i));
        return count;
}

int base64_decode(const char *string, void **ret, size_t *ret_size) {
        size_t length = strlen(string), size = 0;
        if (length % 4 != 0)
                return -EINVAL;
        _cleanup_free_ uint8_t *data = malloc(length / 4 * 3 + 1);
        if (!data)
                return -ENOMEM;
        for (size_t i = 0; i < length; i += 4) {
                int n = decode_group(string + i, i + 4 == length, data + size);
                if (n < 0)
                        return n;
                size += (size_t) n;
        }
        data[size] = '\0';
        *ret = TAKE_PTR(data);
        *ret_size = size;
        return 0;
}
