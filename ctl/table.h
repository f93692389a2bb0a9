/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Rows of cells under one description of columns, shown as an aligned table or as JSON. */

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "ctl/context.h"
#include "lib/macros.h"

typedef enum CellKind {
        CELL_STRING,
        CELL_DIGEST,  /* a string, shortened in tables */
        CELL_NUMBER,  /* to the right */
        CELL_INTEGER, /* the same with a sign */
        CELL_SIZE,    /* bytes, to the right */
        CELL_TIME,    /* microseconds since 1970; "3min ago" */
        CELL_STATE,   /* a string with a colour */
        CELL_COMMAND, /* a list of strings */
} CellKind;

typedef struct Column {
        const char *header; /* NULL: only in JSON */
        const char *key;    /* NULL: not in JSON */
        CellKind kind;
        bool elastic; /* may be cut to fit the terminal */
} Column;

typedef struct Table Table;

int table_new(const Column *columns, size_t count, Table **ret);
Table *table_free(Table *table);
DEFINE_CLEANUP(Table *, table_free);

/* Starts a row; cells that are not set are empty. */
int table_add_row(Table *table);
/* A cell of the last row, by kind: strings are copied; NULL is an empty one. */
int table_set_string(Table *table, size_t column, const char *value);
int table_set_list(Table *table, size_t column, char *const *value);
int table_set_number(Table *table, size_t column, uint64_t value);
int table_set_integer(Table *table, size_t column, int64_t value);

size_t table_rows(const Table *table);

typedef struct TableStyle {
        size_t width; /* of the terminal; 0: as wide as the rows are */
        bool colour;
        bool legend; /* headers */
        bool full;   /* digests are not shortened, nothing is cut */
        uint64_t now_usec;
} TableStyle;

int table_write(const Table *table, FILE *file, const TableStyle *style);
int table_write_json(const Table *table, FILE *file, bool pretty);

/* As the context has it: JSON, or a table with its headers, through a pager where it is longer than the
 * terminal. */
int table_show(const Table *table, const Context *context, bool full, Fault *fault);
