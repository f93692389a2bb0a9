/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/json-writer.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "lib/macros.h"
#include "lib/strv.h"

static void new_line(JsonWriter *writer) {
        if (!writer->pretty)
                return;
        fprintf(writer->file, "\n%*s", (int) (2 * writer->depth), "");
}

/* Before every value: the comma, unless it is the first or belongs to a key. */
static void begin_value(JsonWriter *writer) {
        if (writer->after_key) {
                writer->after_key = false;
                return;
        }
        if (writer->filled[writer->depth])
                fputc(',', writer->file);
        writer->filled[writer->depth] = true;
        if (writer->depth > 0)
                new_line(writer);
}

void json_writer_begin(JsonWriter *writer, char bracket) {
        begin_value(writer);
        fputc(bracket, writer->file);
        assert(writer->depth + 1 < JSON_WRITER_DEPTH);
        writer->filled[++writer->depth] = false;
}

void json_writer_end(JsonWriter *writer, char bracket) {
        assert(writer->depth > 0);
        bool filled = writer->filled[writer->depth--];
        if (filled)
                new_line(writer);
        fputc(bracket, writer->file);
        if (writer->depth == 0)
                fputc('\n', writer->file);
}

static void write_escaped(FILE *file, const char *text) {
        fputc('"', file);
        for (const char *p = text; *p; p++) {
                unsigned char c = (unsigned char) *p;
                if (c == '"' || c == '\\')
                        fprintf(file, "\\%c", c);
                else if (c == '\n')
                        fputs("\\n", file);
                else if (c == '\t')
                        fputs("\\t", file);
                else if (c < 0x20 || c == 0x7f)
                        fprintf(file, "\\u%04x", c);
                else
                        fputc(c, file);
        }
        fputc('"', file);
}

void json_writer_key(JsonWriter *writer, const char *key) {
        begin_value(writer);
        write_escaped(writer->file, key);
        fputs(writer->pretty ? ": " : ":", writer->file);
        writer->after_key = true;
}

void json_writer_string(JsonWriter *writer, const char *value) {
        begin_value(writer);
        if (!value)
                fputs("null", writer->file);
        else if (string_is_utf8(value, strlen(value)))
                write_escaped(writer->file, value);
        else
                fputs("\"\\ufffd\"", writer->file);
}

void json_writer_unsigned(JsonWriter *writer, uint64_t value) {
        begin_value(writer);
        fprintf(writer->file, "%" PRIu64, value);
}

void json_writer_signed(JsonWriter *writer, int64_t value) {
        begin_value(writer);
        fprintf(writer->file, "%" PRIi64, value);
}

void json_writer_double(JsonWriter *writer, double value) {
        begin_value(writer);
        if (isfinite(value))
                fprintf(writer->file, "%.17g", value);
        else
                fputs("null", writer->file);
}

void json_writer_bool(JsonWriter *writer, bool value) {
        begin_value(writer);
        fputs(value ? "true" : "false", writer->file);
}

void json_writer_strv(JsonWriter *writer, char *const *strv) {
        json_writer_begin(writer, '[');
        for (size_t i = 0; strv && strv[i]; i++)
                json_writer_string(writer, strv[i]);
        json_writer_end(writer, ']');
}
