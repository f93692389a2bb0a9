/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* NULL-terminated arrays of strings that own their strings, and small string predicates. */

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "lib/macros.h"

#define _cleanup_strv_ _cleanup_(strv_freep)

char **strv_free(char **strv);
DEFINE_CLEANUP(char **, strv_free);

size_t strv_length(char *const *strv);
/* Bytes of all strings with their terminators. */
size_t strv_size(char *const *strv);
int strv_copy(const char *const *strv, char ***ret);
/* Appends a copy. */
int strv_append(char ***strv, const char *string);
int strv_appendf(char ***strv, const char *format, ...) _printf_(2, 3);
/* Appends the string itself, which is freed on failure. */
int strv_consume(char ***strv, char *string);
bool strv_contains(const char *const *strv, const char *string);
/* Sets NAME=value in an environment block, replacing an earlier one. */
int strv_set_environment(char ***strv, const char *assignment);
/* The value of NAME, or NULL. */
const char *strv_get_environment(const char *const *strv, const char *name);

#define STRV_FOREACH(item, strv)                                                                            \
        for (__typeof__(*(strv)) *_i_##item = (strv), item; _i_##item && (item = *_i_##item); _i_##item++)

static inline bool string_equal(const char *a, const char *b) {
        return a == b || (a && b && strcmp(a, b) == 0);
}

/* What follows prefix in string, or NULL. */
static inline const char *string_after(const char *string, const char *prefix) {
        size_t length = strlen(prefix);
        return strncmp(string, prefix, length) == 0 ? string + length : NULL;
}

bool string_ends_with(const char *string, const char *suffix);
bool string_is_empty(const char *string);
/* Valid UTF-8 without control characters. */
bool string_is_printable(const char *string);
/* Puts '?' where that is not so. */
void string_make_printable(char *string);
bool string_is_utf8(const char *string, size_t size);

/* Whole-string conversion in base 10: -EINVAL for anything else, -ERANGE beyond the type or maximum. */
int string_to_uint64(const char *string, uint64_t maximum, uint64_t *ret);
int string_to_int64(const char *string, int64_t *ret);
/* Octal, for modes. */
int string_to_mode(const char *string, unsigned *ret);

/* The index of string in a table of names, or -EINVAL. */
int string_table_find(const char *const *table, size_t count, const char *string);
