/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/strv.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>

char **strv_free(char **strv) {
        for (char **p = strv; p && *p; p++)
                free(*p);
        free(strv);
        return NULL;
}

size_t strv_length(char *const *strv) {
        size_t n = 0;
        while (strv && strv[n])
                n++;
        return n;
}

int strv_consume(char ***strv, char *string) {
        if (!string)
                return -ENOMEM;
        size_t n = strv_length(*strv);
        char **larger = realloc(*strv, (n + 2) * sizeof(char *));
        if (!larger) {
                free(string);
                return -ENOMEM;
        }
        larger[n] = string;
        larger[n + 1] = NULL;
        *strv = larger;
        return 0;
}

int strv_append(char ***strv, const char *string) {
        return strv_consume(strv, strdup(string));
}

int strv_appendf(char ***strv, const char *format, ...) {
        va_list arguments;
        char *string = NULL;
        va_start(arguments, format);
        int n = vasprintf(&string, format, arguments);
        va_end(arguments);
        return strv_consume(strv, n < 0 ? NULL : string);
}

size_t strv_size(char *const *strv) {
        size_t size = 0;
        for (; strv && *strv; strv++)
                size += strlen(*strv) + 1;
        return size;
}

int strv_copy(const char *const *strv, char ***ret) {
        size_t n = 0;
        while (strv && strv[n])
                n++;
        _cleanup_strv_ char **copy = new0(char *, n + 1);
        if (!copy)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++)
                if (!(copy[i] = strdup(strv[i])))
                        return -ENOMEM;
        *ret = TAKE_PTR(copy);
        return 0;
}

bool strv_contains(const char *const *strv, const char *string) {
        for (; strv && *strv; strv++)
                if (strcmp(*strv, string) == 0)
                        return true;
        return false;
}

int strv_set_environment(char ***strv, const char *assignment) {
        size_t name = strcspn(assignment, "=");
        for (char **p = *strv; p && *p; p++)
                if (strncmp(*p, assignment, name) == 0 && (*p)[name] == '=') {
                        char *copy = strdup(assignment);
                        if (!copy)
                                return -ENOMEM;
                        free(*p);
                        *p = copy;
                        return 0;
                }
        return strv_append(strv, assignment);
}

const char *strv_get_environment(const char *const *strv, const char *name) {
        size_t length = strlen(name);
        for (; strv && *strv; strv++)
                if (strncmp(*strv, name, length) == 0 && (*strv)[length] == '=')
                        return *strv + length + 1;
        return NULL;
}

bool string_ends_with(const char *string, const char *suffix) {
        size_t a = strlen(string), b = strlen(suffix);
        return a >= b && memcmp(string + a - b, suffix, b) == 0;
}

bool string_is_empty(const char *string) {
        return !string || !string[0];
}

/* The length of the UTF-8 sequence at p (RFC 3629: no overlong forms, no surrogates), or 0. */
static size_t utf8_sequence(const uint8_t *p, size_t left) {
        if (p[0] < 0x80)
                return 1;
        size_t n = p[0] >= 0xc2 && p[0] <= 0xdf   ? 2
                   : (p[0] & 0xf0) == 0xe0        ? 3
                   : p[0] >= 0xf0 && p[0] <= 0xf4 ? 4
                                                  : 0;
        if (n == 0 || n > left)
                return 0;
        for (size_t i = 1; i < n; i++)
                if ((p[i] & 0xc0) != 0x80)
                        return 0;
        if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
            (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
                return 0;
        return n;
}

bool string_is_utf8(const char *string, size_t size) {
        const uint8_t *p = (const uint8_t *) string;
        while (size > 0) {
                size_t n = utf8_sequence(p, size);
                if (n == 0)
                        return false;
                p += n;
                size -= n;
        }
        return true;
}

bool string_is_printable(const char *string) {
        if (!string || !string_is_utf8(string, strlen(string)))
                return false;
        for (const uint8_t *p = (const uint8_t *) string; *p; p++)
                if (*p < 0x20 || *p == 0x7f || (*p == 0xc2 && p[1] < 0xa0))
                        return false;
        return true;
}

void string_make_printable(char *string) {
        uint8_t *p = (uint8_t *) string;
        size_t left = strlen(string);
        while (left > 0) {
                size_t n = utf8_sequence(p, left);
                if (n == 0 || *p < 0x20 || *p == 0x7f || (*p == 0xc2 && p[1] < 0xa0)) {
                        n = MAX_OF(n, 1U);
                        memset(p, '?', n);
                }
                p += n;
                left -= n;
        }
}

int string_to_uint64(const char *string, uint64_t maximum, uint64_t *ret) {
        uint64_t value = 0;
        if (string_is_empty(string))
                return -EINVAL;
        for (const char *p = string; *p; p++) {
                if (*p < '0' || *p > '9')
                        return -EINVAL;
                if (__builtin_mul_overflow(value, 10U, &value) ||
                    __builtin_add_overflow(value, (uint64_t) (*p - '0'), &value))
                        return -ERANGE;
        }
        if (value > maximum)
                return -ERANGE;
        *ret = value;
        return 0;
}

int string_to_int64(const char *string, int64_t *ret) {
        bool negative = string && string[0] == '-';
        uint64_t value;
        int r = string_to_uint64(negative ? string + 1 : string, (uint64_t) INT64_MAX + (negative ? 1U : 0U),
                                 &value);
        if (r < 0)
                return r;
        *ret = negative ? (int64_t) (0 - value) : (int64_t) value;
        return 0;
}

int string_to_mode(const char *string, unsigned *ret) {
        unsigned value = 0;
        if (string_is_empty(string) || strlen(string) > 5)
                return -EINVAL;
        for (const char *p = string; *p; p++) {
                if (*p < '0' || *p > '7')
                        return -EINVAL;
                value = value * 8 + (unsigned) (*p - '0');
        }
        if (value > 07777)
                return -ERANGE;
        *ret = value;
        return 0;
}

int string_table_find(const char *const *table, size_t count, const char *string) {
        for (size_t i = 0; i < count && string; i++)
                if (table[i] && strcmp(table[i], string) == 0)
                        return (int) i;
        return -EINVAL;
}
