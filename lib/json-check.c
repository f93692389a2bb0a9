/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/json-check.h"

#include <json-c/json.h>
#include <stdint.h>
#include <string.h>

#include "lib/strv.h"

/* From after the opening quote to the closing one. NULL and the place in *i, or why it is refused. */
static const char *check_string(const char *data, size_t size, size_t *i) {
        size_t start = *i;
        for (; *i < size; (*i)++) {
                uint8_t c = (uint8_t) data[*i];
                if (c == '"')
                        return string_is_utf8(data + start, *i - start) ? NULL : "invalid UTF-8";
                if (c < 0x20)
                        return "control character in a string";
                if (c != '\\')
                        continue;
                (*i)++;
                if (*i + 4 < size && memcmp(data + *i, "u0000", 5) == 0)
                        return "NUL in a string";
        }
        return "string without end";
}

/* Digits from data[*i] on; *i ends on the last of them. A fraction or exponent makes it a double, which may
 * round. */
static const char *check_number(const char *data, size_t size, size_t *i) {
        uint64_t value = 0;
        bool overflow = false;
        size_t j = *i;
        for (; j < size && data[j] >= '0' && data[j] <= '9'; j++)
                if (__builtin_mul_overflow(value, 10U, &value) ||
                    __builtin_add_overflow(value, (uint64_t) (data[j] - '0'), &value))
                        overflow = true;
        bool fraction = j < size && (data[j] == '.' || data[j] == 'e' || data[j] == 'E');
        for (; fraction && j < size && data[j] && strchr("0123456789.eE+-", data[j]); j++)
                ;
        bool negative = *i > 0 && data[*i - 1] == '-';
        if (!fraction && (overflow || (negative && value > (uint64_t) INT64_MAX + 1U)))
                return "integer beyond 64 bits";
        *i = j - 1;
        return NULL;
}

const char *json_check_text(const char *data, size_t size, unsigned depth, size_t *ret_offset) {
        unsigned level = 0;
        const char *why = NULL;
        size_t i;

        for (i = 0; i < size && !why; i++) {
                char c = data[i];
                if (c == '"') {
                        i++;
                        why = check_string(data, size, &i);
                } else if (c >= '0' && c <= '9')
                        why = check_number(data, size, &i);
                else if (c == '{' || c == '[')
                        why = ++level > depth ? "nested too deeply" : NULL;
                else if ((c == '}' || c == ']') && level > 0)
                        level--;
                else if (c == '\0')
                        why = "NUL byte";
                else if ((uint8_t) c >= 0x80)
                        why = "stray byte";
        }
        *ret_offset = MIN_OF(i, size);
        return why;
}

size_t json_check_count_text_members(const char *data, size_t size) {
        size_t count = 0;
        for (size_t i = 0; i < size; i++) {
                if (data[i] == ':')
                        count++;
                if (data[i] != '"')
                        continue;
                for (i++; i < size && data[i] != '"'; i++)
                        if (data[i] == '\\')
                                i++;
        }
        return count;
}

size_t json_check_count_document_members(struct json_object *document) {
        size_t count = 0;
        if (json_object_is_type(document, json_type_object)) {
                json_object_object_foreach(document, key, value) {
                        (void) key;
                        count += 1 + json_check_count_document_members(value);
                }
        } else if (json_object_is_type(document, json_type_array)) {
                size_t n = json_object_array_length(document);
                for (size_t i = 0; i < n; i++)
                        count += json_check_count_document_members(json_object_array_get_idx(document, i));
        }
        return count;
}
