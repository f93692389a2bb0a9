/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/layer-xattr.h"

#include <errno.h>
#include <stdint.h>

static int hex_digit(char c) {
        return c >= '0' && c <= '9'   ? c - '0'
               : c >= 'a' && c <= 'f' ? c - 'a' + 10
               : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                      : -EBADMSG;
}

static int decode_percent(char *text) {
        char *to = text;
        for (const char *from = text; *from; from++) {
                if (*from == '%') {
                        int high = hex_digit(from[1]), low = high < 0 ? high : hex_digit(from[2]);
                        if (low < 0 || (high | low) == 0)
                                return -EBADMSG;
                        *to++ = (char) (high << 4 | low);
                        from += 2;
                } else
                        *to++ = *from;
        }
        *to = '\0';
        return 0;
}

static int base64_digit(char c) {
        return c >= 'A' && c <= 'Z'   ? c - 'A'
               : c >= 'a' && c <= 'z' ? c - 'a' + 26
               : c >= '0' && c <= '9' ? c - '0' + 52
               : c == '+'             ? 62
               : c == '/'             ? 63
                                      : -EBADMSG;
}

static int decode_base64(char *text, size_t *size) {
        uint32_t bits = 0;
        unsigned count = 0;
        size_t n = *size;
        while (n > 0 && text[n - 1] == '=')
                n--;
        char *to = text;
        for (size_t i = 0; i < n; i++) {
                int digit = base64_digit(text[i]);
                if (digit < 0)
                        return digit;
                bits = bits << 6 | (uint32_t) digit;
                count += 6;
                if (count >= 8) {
                        count -= 8;
                        *to++ = (char) (bits >> count);
                }
        }
        *size = (size_t) (to - text);
        return count == 6 ? -EBADMSG : 0; /* one digit is no byte */
}

int layer_xattr_decode(char *name, char *value, size_t *size) {
        int r = decode_percent(name);
        return r < 0 ? r : decode_base64(value, size);
}
