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

static size_t count_digits(const char *data, size_t size, size_t i) {
        size_t start = i;
        while (i < size && data[i] >= '0' && data[i] <= '9')
                i++;
        return i - start;
}

static bool is_beyond_64_bits(const char *digits, size_t count, bool negative) {
        uint64_t value = 0;
        for (size_t i = 0; i < count; i++)
                if (__builtin_mul_overflow(value, 10U, &value) ||
                    __builtin_add_overflow(value, (uint64_t) (digits[i] - '0'), &value))
                        return true;
        return negative && value > (uint64_t) INT64_MAX + 1U;
}

/* From the minus sign or first digit at data[*i]; *i ends on the last character. A fraction or exponent
 * makes it a double, which may round. */
static const char *check_number(const char *data, size_t size, size_t *i) {
        size_t start = *i + (data[*i] == '-'), count = count_digits(data, size, start), end = start + count;
        bool is_integer = true;
        if (count == 0 || (count > 1 && data[start] == '0'))
                return "malformed number";
        if (end < size && data[end] == '.') {
                size_t n = count_digits(data, size, end + 1);
                if (n == 0)
                        return "malformed number";
                end += 1 + n;
                is_integer = false;
        }
        if (end < size && (data[end] == 'e' || data[end] == 'E')) {
                size_t sign = end + 1 < size && (data[end + 1] == '+' || data[end + 1] == '-');
                size_t n = count_digits(data, size, end + 1 + sign);
                if (n == 0)
                        return "malformed number";
                end += 1 + sign + n;
                is_integer = false;
        }
        if (is_integer && is_beyond_64_bits(data + start, count, start > *i))
                return "integer beyond 64 bits";
        *i = end - 1;
        return NULL;
}

/* json-c takes these in other spellings too, NaN and Infinity, and names in single quotes. */
static const char *check_word(const char *data, size_t size, size_t *i) {
        static const char *const words[] = { "true", "false", "null" };
        for (size_t k = 0; k < ELEMENTS_OF(words); k++) {
                size_t length = strlen(words[k]);
                if (size - *i >= length && memcmp(data + *i, words[k], length) == 0) {
                        *i += length - 1;
                        return NULL;
                }
        }
        return data[*i] == '\0' ? "NUL byte" : "stray character";
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
                } else if (c == '-' || (c >= '0' && c <= '9'))
                        why = check_number(data, size, &i);
                else if (c == '{' || c == '[')
                        why = ++level > depth ? "nested too deeply" : NULL;
                else if ((c == '}' || c == ']') && level > 0)
                        level--;
                else if (c != ' ' && c != '\t' && c != '\r' && c != '\n' && c != ',' && c != ':' &&
                         c != '}' && c != ']')
                        why = check_word(data, size, &i);
        }
        *ret_offset = MIN_OF(i, size);
        return why;
}

static size_t skip_space(const char *data, size_t size, size_t i) {
        while (i < size && (data[i] == ' ' || data[i] == '\t' || data[i] == '\r' || data[i] == '\n'))
                i++;
        return i;
}

/* From the opening quote to after the closing one. */
static size_t skip_string(const char *data, size_t size, size_t i) {
        for (i++; i < size && data[i] != '"'; i++)
                if (data[i] == '\\')
                        i++;
        return MIN_OF(i + 1, size);
}

static size_t skip_value(const char *data, size_t size, size_t i) {
        unsigned level = 0;
        while (i < size) {
                char c = data[i];
                if (c == '"') {
                        i = skip_string(data, size, i);
                        if (level == 0)
                                return i;
                        continue;
                }
                if (c == '{' || c == '[')
                        level++;
                else if (level == 0 && (c == ',' || c == '}' || c == ']'))
                        return i;
                else if ((c == '}' || c == ']') && --level == 0)
                        return i + 1;
                i++;
        }
        return size;
}

/* In the object that begins at i; 0: there is none. */
static size_t find_member(const char *data, size_t size, size_t i, const char *key) {
        size_t length = strlen(key);
        if (i >= size || data[i] != '{')
                return 0;
        for (;;) {
                size_t name = skip_space(data, size, i + 1);
                if (name >= size || data[name] != '"')
                        return 0;
                size_t end = skip_string(data, size, name);
                i = skip_space(data, size, end);
                if (i >= size || data[i] != ':')
                        return 0;
                i = skip_space(data, size, i + 1);
                if (end - name == length + 2 && memcmp(data + name + 1, key, length) == 0)
                        return i;
                i = skip_space(data, size, skip_value(data, size, i));
                if (i >= size || data[i] != ',')
                        return 0;
        }
}

bool json_check_find(const char *data, size_t size, const char *const *path, size_t *ret_offset,
                     size_t *ret_size) {
        size_t i = skip_space(data, size, 0);
        for (; *path; path++) {
                i = find_member(data, size, i, *path);
                if (i == 0 || i >= size)
                        return false;
        }
        *ret_offset = i;
        *ret_size = skip_value(data, size, i) - i;
        return *ret_size > 0;
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
