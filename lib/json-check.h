/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What json-c lets pass: a scan of the text before it is parsed. It checks each token, but not how they
 * follow one another, that is json-c's part. */

#include <stdbool.h>
#include <stddef.h>

#include "lib/macros.h"

struct json_object;

/* NULL, or why this text is refused (depth, UTF-8, NUL in a string, control characters, malformed numbers
 * and words, integers beyond 64 bits) with the place. */
const char *json_check_text(const char *data, size_t size, unsigned depth, size_t *ret_offset);

/* Where the value stands that these keys lead to, from object to object; false: nowhere, or not found, as
 * one of them is written with escapes. Of a text that is no JSON document it may be anything. path ends with
 * NULL. */
bool json_check_find(const char *data, size_t size, const char *const *path, size_t *ret_offset,
                     size_t *ret_size);

/* The members that the text writes down, to be held against those that the parsed document has: with a key
 * given twice, one of them is lost. */
size_t json_check_count_text_members(const char *data, size_t size);
size_t json_check_count_document_members(struct json_object *document);
