/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/table.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "ctl/format.h"
#include "ctl/json-writer.h"
#include "ctl/pager.h"
#include "ctl/style.h"
#include "lib/strv.h"

#define COLUMN_MIN 8U /* to what an elastic column is cut at most */

typedef struct Cell {
        char *string;
        char **list;
        uint64_t number;
} Cell;

struct Table {
        const Column *columns;
        size_t column_count;
        Cell *cells;
        size_t row_count, row_capacity;
};

int table_new(const Column *columns, size_t count, Table **ret) {
        Table *table = new0(Table, 1);
        if (!table)
                return -ENOMEM;
        table->columns = columns;
        table->column_count = count;
        *ret = table;
        return 0;
}

Table *table_free(Table *table) {
        if (!table)
                return NULL;
        for (size_t i = 0; i < table->row_count * table->column_count; i++) {
                free(table->cells[i].string);
                strv_free(table->cells[i].list);
        }
        free(table->cells);
        free(table);
        return NULL;
}

int table_add_row(Table *table) {
        if (table->row_count == table->row_capacity) {
                size_t capacity = MAX_OF(table->row_capacity * 2, (size_t) 16);
                Cell *cells = reallocarray(table->cells, capacity * table->column_count, sizeof(Cell));
                if (!cells)
                        return -ENOMEM;
                table->cells = cells;
                table->row_capacity = capacity;
        }
        memset(table->cells + table->row_count * table->column_count, 0, table->column_count * sizeof(Cell));
        table->row_count++;
        return 0;
}

static Cell *table_cell(const Table *table, size_t row, size_t column) {
        assert(row < table->row_count && column < table->column_count);
        return &table->cells[row * table->column_count + column];
}

int table_set_string(Table *table, size_t column, const char *value) {
        char *copy = strdup(value ? value : "");
        if (!copy)
                return -ENOMEM;
        Cell *cell = table_cell(table, table->row_count - 1, column);
        free(cell->string);
        cell->string = copy;
        return 0;
}

int table_set_list(Table *table, size_t column, char *const *value) {
        return strv_copy((const char *const *) value,
                         &table_cell(table, table->row_count - 1, column)->list);
}

int table_set_number(Table *table, size_t column, uint64_t value) {
        table_cell(table, table->row_count - 1, column)->number = value;
        return 0;
}

int table_set_integer(Table *table, size_t column, int64_t value) {
        return table_set_number(table, column, (uint64_t) value);
}

size_t table_rows(const Table *table) {
        return table->row_count;
}

/* What a cell looks like in a table: a fresh string that is safe for a terminal. */
static char *cell_text(const Cell *cell, CellKind kind, const TableStyle *style) {
        FormatBuffer buffer;

        switch (kind) {
        case CELL_NUMBER:
                snprintf(buffer, sizeof(buffer), "%" PRIu64, cell->number);
                return strdup(buffer);
        case CELL_INTEGER:
                snprintf(buffer, sizeof(buffer), "%" PRIi64, (int64_t) cell->number);
                return strdup(buffer);
        case CELL_SIZE:
                return strdup(format_size(cell->number, buffer));
        case CELL_TIME:
                return strdup(format_age(style->now_usec, cell->number, buffer));
        case CELL_COMMAND: {
                _cleanup_free_ char *command = format_command(cell->list);
                return command ? format_printable(command) : NULL;
        }
        case CELL_DIGEST:
                if (!style->full && cell->string)
                        return format_printable(format_short_digest(cell->string, buffer));
                break;
        default:
                break;
        }
        return format_printable(cell->string && cell->string[0] ? cell->string : "-");
}

static bool kind_is_right(CellKind kind) {
        return kind == CELL_NUMBER || kind == CELL_INTEGER || kind == CELL_SIZE;
}

static const char *state_colour(const char *state) {
        static const char *const good[] = { "running", "done", "exists", NULL };
        static const char *const bad[] = { "failed", NULL };
        static const char *const busy[] = { "starting", "created", "downloading", NULL };
        size_t length = strcspn(state, " ");
        char word[32];
        if (length >= sizeof(word))
                return NULL;
        memcpy(word, state, length);
        word[length] = 0;
        return strv_contains(good, word)   ? STYLE_GREEN
               : strv_contains(bad, word)  ? STYLE_RED
               : strv_contains(busy, word) ? STYLE_YELLOW
                                           : STYLE_DIM;
}

/* The widths of the columns as they are, then the widest elastic ones cut until the row fits. */
static void compute_widths(const Table *table, char *const *texts, const TableStyle *style, size_t *widths) {
        size_t sum = 0;
        for (size_t c = 0; c < table->column_count; c++) {
                widths[c] = 0;
                if (!table->columns[c].header)
                        continue;
                if (style->legend)
                        widths[c] = format_width(table->columns[c].header);
                for (size_t row = 0; row < table->row_count; row++)
                        widths[c] = MAX_OF(widths[c], format_width(texts[row * table->column_count + c]));
                sum += widths[c] + (sum > 0 ? 1 : 0);
        }
        while (style->width > 0 && !style->full && sum > style->width) {
                size_t widest = table->column_count;
                for (size_t c = 0; c < table->column_count; c++)
                        if (table->columns[c].elastic && widths[c] > COLUMN_MIN &&
                            (widest == table->column_count || widths[c] > widths[widest]))
                                widest = c;
                if (widest == table->column_count)
                        return;
                widths[widest]--;
                sum--;
        }
}

static void write_cell(FILE *file, const char *text, size_t width, bool right, bool last) {
        size_t own = format_width(text);
        size_t space = own < width ? width - own : 0;
        if (right)
                fprintf(file, "%*s", (int) space, "");
        if (own > width && width > 1)
                fprintf(file, "%.*s…", (int) format_prefix(text, width - 1), text);
        else
                fputs(text, file);
        if (!right && !last)
                fprintf(file, "%*s", (int) space, "");
}

static void write_row(const Table *table, FILE *file, const TableStyle *style, const size_t *widths,
                      char *const *texts) {
        size_t last = 0;
        for (size_t c = 0; c < table->column_count; c++)
                if (table->columns[c].header)
                        last = c;
        for (size_t c = 0, shown = 0; c < table->column_count; c++) {
                const Column *column = &table->columns[c];
                if (!column->header)
                        continue;
                if (shown++ > 0)
                        fputc(' ', file);
                const char *colour =
                        style->colour && texts && column->kind == CELL_STATE ? state_colour(texts[c]) : NULL;
                if (colour)
                        fputs(colour, file);
                write_cell(file, texts ? texts[c] : column->header, widths[c], kind_is_right(column->kind),
                           c == last);
                if (colour)
                        fputs(STYLE_NORMAL, file);
        }
}

static int table_texts(const Table *table, const TableStyle *style, char ***ret) {
        size_t count = table->row_count * table->column_count;
        _cleanup_strv_ char **texts = new0(char *, count + 1);
        if (!texts)
                return -ENOMEM;
        for (size_t i = 0; i < count; i++) {
                texts[i] = cell_text(&table->cells[i], table->columns[i % table->column_count].kind, style);
                if (!texts[i])
                        return -ENOMEM;
        }
        *ret = TAKE_PTR(texts);
        return 0;
}

int table_write(const Table *table, FILE *file, const TableStyle *style) {
        _cleanup_strv_ char **texts = NULL;
        _cleanup_free_ size_t *widths = new0(size_t, table->column_count);

        int r = widths ? table_texts(table, style, &texts) : -ENOMEM;
        if (r < 0)
                return r;
        compute_widths(table, texts, style, widths);
        if (style->legend) {
                if (style->colour)
                        fputs(STYLE_HEADER, file);
                write_row(table, file, style, widths, NULL);
                fputs(style->colour ? STYLE_NORMAL "\n" : "\n", file);
        }
        for (size_t row = 0; row < table->row_count; row++) {
                write_row(table, file, style, widths, texts + row * table->column_count);
                fputc('\n', file);
        }
        return 0;
}

int table_write_json(const Table *table, FILE *file, bool pretty) {
        JsonWriter writer = JSON_WRITER_INIT(file, pretty);

        json_writer_begin(&writer, '[');
        for (size_t row = 0; row < table->row_count; row++) {
                json_writer_begin(&writer, '{');
                for (size_t c = 0; c < table->column_count; c++) {
                        const Cell *cell = table_cell(table, row, c);
                        CellKind kind = table->columns[c].kind;
                        if (!table->columns[c].key)
                                continue;
                        json_writer_key(&writer, table->columns[c].key);
                        if (kind == CELL_NUMBER || kind == CELL_SIZE || kind == CELL_TIME)
                                json_writer_unsigned(&writer, cell->number);
                        else if (kind == CELL_INTEGER)
                                json_writer_signed(&writer, (int64_t) cell->number);
                        else if (kind == CELL_COMMAND)
                                json_writer_strv(&writer, cell->list);
                        else
                                json_writer_string(&writer, cell->string ? cell->string : "");
                }
                json_writer_end(&writer, '}');
        }
        json_writer_end(&writer, ']');
        return 0;
}

int table_show(const Table *table, const Context *context, bool full, Fault *fault) {
        _cleanup_free_ char *text = NULL;
        size_t size;

        FILE *file = open_memstream(&text, &size);
        if (!file)
                return -ENOMEM;
        const TableStyle style = {
                .width = style_is_terminal(STDOUT) ? style_columns(STDOUT) : 0,
                .colour = style_has_colour(STDOUT),
                .legend = !context->no_legend,
                .full = full,
                .now_usec = now_realtime_usec(),
        };
        int r = context_is_json(context)
                        ? table_write_json(table, file, context->output == OUTPUT_JSON_PRETTY)
                        : table_write(table, file, &style);
        if (fclose(file) != 0 && r >= 0)
                r = -ENOMEM;
        return r < 0 ? r : pager_show(context, text, size, fault);
}
