/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/listing.h"

#include <errno.h>
#include <stdio.h>

#include "ctl/bus-json.h"
#include "ctl/pager.h"
#include "lib/strv.h"

const Argument listing_arguments[] = {
        { "quiet", 'q', NULL, "Only names", offsetof(ListingOptions, quiet) },
        { "full", 'l', NULL, "Shorten nothing", offsetof(ListingOptions, full) },
        { "filter", 'f', "FILTER", "Only what fits: kind==active,labels.\"a b\"~=x; of several one must",
          offsetof(ListingOptions, filters), argument_list },
        {},
};

typedef struct Rows {
        const Listing *listing;
        Table *table;
        JsonWriter *writer; /* instead of the table */
        bool quiet;
} Rows;

/* "a=1,b=2" */
static int set_map(Table *table, size_t column, sd_bus_message *message) {
        _cleanup_free_ char *text = NULL;
        const char *key, *value;
        int r = sd_bus_message_enter_container(message, 'a', "{ss}");
        while (r >= 0 && (r = sd_bus_message_read(message, "{ss}", &key, &value)) > 0) {
                char *longer;
                if (asprintf(&longer, "%s%s%s=%s", text ? text : "", text ? "," : "", key, value) < 0)
                        return -ENOMEM;
                free(text);
                text = longer;
        }
        if (r >= 0)
                r = sd_bus_message_exit_container(message);
        return r < 0 ? r : table_set_string(table, column, text);
}

/* The message stands inside the variant. */
static int set_cell(const Rows *rows, size_t column, const char *signature, sd_bus_message *message) {
        union {
                const char *text;
                uint64_t number;
                uint32_t small;
                int boolean;
        } value;
        if (string_equal(signature, "a{ss}"))
                return set_map(rows->table, column, message);
        if (!string_equal(signature, "s") && !string_equal(signature, "o") &&
            !string_equal(signature, "t") && !string_equal(signature, "u") && !string_equal(signature, "b"))
                return sd_bus_message_skip(message, signature);
        int r = sd_bus_message_read_basic(message, signature[0], &value);
        if (r < 0)
                return r;
        switch (signature[0]) {
        case 't':
                return table_set_number(rows->table, column, value.number);
        case 'u':
                return table_set_number(rows->table, column, value.small);
        case 'b':
                return table_set_string(rows->table, column, value.boolean ? "yes" : "");
        default:
                if (rows->quiet && column == 0)
                        puts(value.text);
                return table_set_string(rows->table, column, value.text);
        }
}

static int read_entry(const Rows *rows, sd_bus_message *message) {
        const char *key, *signature;
        int r = sd_bus_message_read(message, "s", &key);
        if (r >= 0)
                r = sd_bus_message_peek_type(message, NULL, &signature);
        if (r < 0)
                return r;
        size_t column = 0;
        while (column < rows->listing->column_count &&
               !string_equal(rows->listing->columns[column].key, key))
                column++;
        if (column == rows->listing->column_count)
                return sd_bus_message_skip(message, "v");
        r = sd_bus_message_enter_container(message, 'v', signature);
        if (r >= 0)
                r = set_cell(rows, column, signature, message);
        return r < 0 ? r : sd_bus_message_exit_container(message);
}

static int on_item(sd_bus_message *message, void *userdata) {
        const Rows *rows = userdata;
        if (rows->writer) {
                json_writer_begin(rows->writer, '{');
                int r = bus_json_write_entries(rows->writer, message);
                json_writer_end(rows->writer, '}');
                return r;
        }
        int r = table_add_row(rows->table);
        if (r >= 0)
                r = sd_bus_message_enter_container(message, 'a', "{sv}");
        while (r >= 0 && (r = sd_bus_message_enter_container(message, 'e', "sv")) > 0) {
                r = read_entry(rows, message);
                if (r >= 0)
                        r = sd_bus_message_exit_container(message);
        }
        return r < 0 ? r : sd_bus_message_exit_container(message);
}

static int show_json(Context *context, ClientList *list, Rows *rows, Fault *fault) {
        _cleanup_free_ char *text = NULL;
        size_t size;
        FILE *file = open_memstream(&text, &size);
        if (!file)
                return -ENOMEM;
        JsonWriter writer = JSON_WRITER_INIT(file, context->output != OUTPUT_JSON_SHORT);
        rows->writer = &writer;
        json_writer_begin(&writer, '[');
        int r = client_list(&context->client, list, fault);
        json_writer_end(&writer, ']');
        if (fclose(file) != 0 && r >= 0)
                r = -ENOMEM;
        return r < 0 ? r : pager_show(context, text, size, fault);
}

int listing_show(Context *context, const Listing *listing, const ListingOptions *options, Fault *fault) {
        _cleanup_(table_freep) Table *table = NULL;
        Rows rows = { .listing = listing, .quiet = options->quiet };
        ClientList list = {
                .target = listing->target,
                .member = listing->member,
                .filters = options->filters,
                .on_item = on_item,
                .userdata = &rows,
        };
        if (context_is_json(context) && !options->quiet)
                return show_json(context, &list, &rows, fault);
        int r = table_new(listing->columns, listing->column_count, &table);
        if (r < 0)
                return r;
        rows.table = table;
        r = client_list(&context->client, &list, fault);
        return r < 0 || options->quiet ? r : table_show(table, context, options->full, fault);
}

int listing_show_entries(const Context *context, sd_bus_message *message, Fault *fault) {
        _cleanup_free_ char *text = NULL;
        size_t size;
        FILE *file = open_memstream(&text, &size);
        if (!file)
                return -ENOMEM;
        JsonWriter writer = JSON_WRITER_INIT(file, context->output != OUTPUT_JSON_SHORT);
        json_writer_begin(&writer, '{');
        int r = bus_json_write_entries(&writer, message);
        json_writer_end(&writer, '}');
        if (fclose(file) != 0 && r >= 0)
                r = -ENOMEM;
        return r < 0 ? r : pager_show(context, text, size, fault);
}

int listing_show_answer(Context *context, const BusTarget *target, const char *member, const char *argument,
                        Fault *fault) {
        _cleanup_message_ sd_bus_message *reply = NULL;
        int r = client_invoke(&context->client, target, member, argument, &reply, fault);
        if (r < 0)
                return argument ? fault_prefix(fault, r, "%s", argument) : r;
        return listing_show_entries(context, reply, fault);
}
