/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Writes JSON to a stream, short or indented. */

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define JSON_WRITER_DEPTH 64

typedef struct JsonWriter {
        FILE *file;
        bool pretty;
        unsigned depth;
        bool filled[JSON_WRITER_DEPTH]; /* something stands before the next item, by depth */
        bool after_key;
} JsonWriter;

#define JSON_WRITER_INIT(stream, indent) ((JsonWriter){ .file = (stream), .pretty = (indent) })

void json_writer_begin(JsonWriter *writer, char bracket); /* '{' or '[' */
void json_writer_end(JsonWriter *writer, char bracket);   /* '}' or ']' */
void json_writer_key(JsonWriter *writer, const char *key);
void json_writer_string(JsonWriter *writer, const char *value); /* NULL: null */
void json_writer_unsigned(JsonWriter *writer, uint64_t value);
void json_writer_signed(JsonWriter *writer, int64_t value);
void json_writer_double(JsonWriter *writer, double value);
void json_writer_bool(JsonWriter *writer, bool value);
void json_writer_strv(JsonWriter *writer, char *const *strv);
