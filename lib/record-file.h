/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Long lists between services: one record for each line of a sealed memfd, tabs between its fields. Nothing
 * but printable text travels so, and who reads it need not trust who wrote it. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/macros.h"

#define RECORD_FIELDS_MAX 10
/* Of one list. A hundred thousand blobs take about 12 MiB. */
#define RECORD_FILE_MAX (256U * 1024U * 1024U)

typedef struct RecordWriter RecordWriter;

int record_writer_new(const char *name, RecordWriter **ret);
/* Into a file of the caller's, which is the writer's from then on. */
int record_writer_new_into(int fd, RecordWriter **ret);
RecordWriter *record_writer_free(RecordWriter *writer);
DEFINE_CLEANUP(RecordWriter *, record_writer_free);

/* One record. types has a letter for each field: 's' const char * (NULL is an empty field), 't' the same for
 * text that may have control characters (record_field_text()), 'u' uint64_t. -EINVAL for a control character
 * in another field, -EFBIG when the list becomes too long. */
int record_writer_add(RecordWriter *writer, const char *types, ...);
/* Bytes so far. */
size_t record_writer_size(const RecordWriter *writer);
/* Writes out what was added so far. */
int record_writer_flush(RecordWriter *writer);
/* The descriptor, at offset 0; nothing can be added any more. */
int record_writer_finish(RecordWriter *writer);

/* A field; not terminated. */
typedef struct RecordField {
        const char *data;
        size_t length;
} RecordField;

typedef struct RecordFile {
        const char *data;
        size_t size;
        size_t position;
} RecordFile;

/* Also of bytes that are in memory: { .data, .size }, which need no record_file_done(). */
#define RECORD_FILE_NULL ((RecordFile){ 0 })

/* -EINVAL unless fd is a memfd that nobody can change, -EFBIG. fd may be closed afterwards. */
int record_file_open(int fd, RecordFile *ret);
void record_file_done(RecordFile *file);

/* 1 and the fields, which are valid as long as the file; those that the record does not have are empty. 0 at
 * the end, -EBADMSG for what is no record. */
int record_file_next(RecordFile *file, RecordField ret_fields[RECORD_FIELDS_MAX]);

/* What was read need not be in memory any longer: it is read again when it is looked at. */
void record_file_drop(RecordFile *file);

bool record_field_equal(const RecordField *field, const char *text);
/* A fresh string; NULL without memory. */
char *record_field_copy(const RecordField *field);
/* What a field of type 't' stands for, a fresh string of valid UTF-8; -EBADMSG. */
int record_field_text(const RecordField *field, char **ret);
/* -EBADMSG if it is no number. An empty field is 0. */
int record_field_number(const RecordField *field, uint64_t *ret);
