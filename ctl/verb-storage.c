/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "bus/bus-names.h"
#include "bus/object-path.h"
#include "ctl/managed-objects.h"
#include "ctl/table.h"
#include "ctl/verb.h"
#include "lib/fd.h"
#include "lib/strv.h"

/* ---- content ls ---- */

typedef struct ListOptions {
        bool quiet, full;
} ListOptions;

static const Argument list_arguments[] = {
        { "quiet", 'q', NULL, "Only names", offsetof(ListOptions, quiet) },
        { "full", 'l', NULL, "Shorten nothing", offsetof(ListOptions, full) },
        {},
};

static const Column blob_columns[] = {
        { "DIGEST", "digest", CELL_STRING, .elastic = true },
        { "SIZE", "size", CELL_SIZE },
        { "CREATED", "created", CELL_TIME },
};

typedef struct ItemList {
        const Context *context;
        const ListOptions *options;
        Table *table;
} ItemList;

static int on_blob(sd_bus_message *message, void *userdata) {
        ItemList *list = userdata;
        struct {
                const char *digest;
                uint64_t size, created;
        } row = { "", 0, 0 };
        static const BusField fields[] = {
                { "digest", "s", offsetof(__typeof__(row), digest) },
                { "size", "t", offsetof(__typeof__(row), size) },
                { "created", "t", offsetof(__typeof__(row), created) },
                {},
        };
        int r = bus_fields_read(message, fields, &row);
        if (r < 0)
                return r;
        if (list->options->quiet) {
                puts(row.digest);
                return 0;
        }
        r = table_add_row(list->table);
        if (r >= 0)
                r = table_set_string(list->table, 0, row.digest);
        if (r < 0)
                return r;
        table_set_number(list->table, 1, row.size);
        return table_set_number(list->table, 2, row.created);
}

/* A paged list into a table, shown. */
static int run_list(Context *context, const ListOptions *options, const BusTarget *target,
                    ClientOnItem on_item, Table *table, Fault *fault) {
        ItemList list = { context, options, table };
        int r = client_list(&context->client, target, on_item, &list, fault);
        return r < 0 || options->quiet ? r : table_show(table, context, options->full, fault);
}

static int run_content_ls(Context *context, void *options, char **operands, Fault *fault) {
        _cleanup_(table_freep) Table *table = NULL;
        int r = table_new(blob_columns, ELEMENTS_OF(blob_columns), &table);
        return r < 0 ? r : run_list(context, options, &target_content, on_blob, table, fault);
}

const Verb verb_content_ls = {
        .name = "content ls",
        .help = "List blobs",
        .arguments = list_arguments,
        .options_size = sizeof(ListOptions),
        .run = run_content_ls,
};

/* ---- content cat ---- */

static int copy_to_stdout(int fd) {
        char buffer[65536];
        ssize_t n;
        while ((n = fd_read_full(fd, buffer, sizeof(buffer))) > 0) {
                int r = fd_write_all(STDOUT_FILENO, buffer, (size_t) n);
                if (r < 0)
                        return r == -EPIPE ? 0 : r;
        }
        return n < 0 ? (int) n : 0;
}

static int run_content_cat(Context *context, void *options, char **operands, Fault *fault) {
        _cleanup_message_ sd_bus_message *reply = NULL;
        int fd;
        int r = client_invoke(&context->client, &target_content, "Open", operands[0], &reply, fault);
        if (r >= 0)
                r = sd_bus_message_read(reply, "h", &fd);
        if (r >= 0)
                r = copy_to_stdout(fd);
        return r < 0 ? fault_prefix(fault, r, "%s", operands[0]) : 0;
}

const Verb verb_content_cat = {
        .name = "content cat",
        .operands = "DIGEST",
        .help = "Write a blob to standard output",
        .operands_min = 1,
        .operands_max = 1,
        .run = run_content_cat,
};

/* ---- content rm, snapshot rm ---- */

static int remove_named(Context *context, const BusTarget *target, const char *member, const char *name,
                        Fault *fault) {
        _cleanup_message_ sd_bus_message *reply = NULL;
        int r = client_invoke(&context->client, target, member, name, &reply, fault);
        return r < 0 ? fault_prefix(fault, r, "%s", name) : 0;
}

static int content_rm_one(Context *context, void *options, const char *digest, Fault *fault) {
        return remove_named(context, &target_content, "Delete", digest, fault);
}

static int run_content_rm(Context *context, void *options, char **operands, Fault *fault) {
        return verb_for_each(context, options, operands, content_rm_one);
}

const Verb verb_content_rm = {
        .name = "content rm",
        .operands = "DIGEST…",
        .help = "Take blobs out of the namespace",
        .operands_min = 1,
        .operands_max = OPERANDS_ANY,
        .run = run_content_rm,
};

static int snapshot_rm_one(Context *context, void *options, const char *key, Fault *fault) {
        return remove_named(context, &target_snapshots, "Remove", key, fault);
}

static int run_snapshot_rm(Context *context, void *options, char **operands, Fault *fault) {
        return verb_for_each(context, options, operands, snapshot_rm_one);
}

const Verb verb_snapshot_rm = {
        .name = "snapshot rm",
        .operands = "KEY…",
        .help = "Remove snapshots",
        .operands_min = 1,
        .operands_max = OPERANDS_ANY,
        .run = run_snapshot_rm,
};

/* ---- content ingests ---- */

static const Column ingest_columns[] = {
        { "REFERENCE", "reference", CELL_STRING, .elastic = true },
        { "DONE", "offset", CELL_SIZE },
        { "SIZE", "size", CELL_SIZE },
        { "STATE", "state", CELL_STATE },
        { "STARTED", "started", CELL_TIME },
};

static int on_ingest(const char *path, sd_bus_message *message, void *userdata) {
        ItemList *list = userdata;
        struct {
                const char *namespace, *reference;
                uint64_t offset, size, started;
                bool writing;
        } row = { "", "", 0, 0, 0, false };
        static const BusField fields[] = {
                { "Namespace", "s", offsetof(__typeof__(row), namespace) },
                { "Reference", "s", offsetof(__typeof__(row), reference) },
                { "Offset", "t", offsetof(__typeof__(row), offset) },
                { "Size", "t", offsetof(__typeof__(row), size) },
                { "Started", "t", offsetof(__typeof__(row), started) },
                { "Writing", "b", offsetof(__typeof__(row), writing) },
                {},
        };
        char own[CLIENT_NAMESPACE_SIZE];

        int r = bus_fields_read(message, fields, &row);
        if (r < 0 || !string_equal(row.namespace, client_namespace(&list->context->client, own)))
                return r;
        r = table_add_row(list->table);
        if (r >= 0)
                r = table_set_string(list->table, 0, row.reference);
        if (r >= 0)
                r = table_set_string(list->table, 3, row.writing ? "running" : "paused");
        if (r < 0)
                return r;
        table_set_number(list->table, 1, row.offset);
        table_set_number(list->table, 2, row.size);
        return table_set_number(list->table, 4, row.started);
}

static int run_content_ingests(Context *context, void *options, char **operands, Fault *fault) {
        _cleanup_(table_freep) Table *table = NULL;
        int r = table_new(ingest_columns, ELEMENTS_OF(ingest_columns), &table);
        if (r < 0)
                return r;
        ItemList list = { context, NULL, table };
        const BusTarget target = { CRT_CONTENT_NAME, CRT_CONTENT_PATH, CRT_INGEST_INTERFACE };
        r = managed_objects_visit(&context->client, &target, on_ingest, &list, fault);
        return r < 0 ? r : table_show(table, context, false, fault);
}

const Verb verb_content_ingests = {
        .name = "content ingests",
        .help = "List blobs that are coming in or were left in the middle",
        .run = run_content_ingests,
};

/* ---- snapshot ls ---- */

static const Column snapshot_columns[] = {
        { "KEY", "key", CELL_STRING, .elastic = true },
        { "KIND", "kind", CELL_STRING },
        { "PARENT", "parent", CELL_DIGEST },
        { "CREATED", "created", CELL_TIME },
        { NULL, "diff-id", CELL_DIGEST },
};

static int on_snapshot(sd_bus_message *message, void *userdata) {
        ItemList *list = userdata;
        struct {
                const char *key, *kind, *parent, *diff_id;
                uint64_t created;
        } row = { "", "", "", "", 0 };
        static const BusField fields[] = {
                { "key", "s", offsetof(__typeof__(row), key) },
                { "kind", "s", offsetof(__typeof__(row), kind) },
                { "parent", "s", offsetof(__typeof__(row), parent) },
                { "diff-id", "s", offsetof(__typeof__(row), diff_id) },
                { "created", "t", offsetof(__typeof__(row), created) },
                {},
        };
        int r = bus_fields_read(message, fields, &row);
        if (r < 0)
                return r;
        if (list->options->quiet) {
                puts(row.key);
                return 0;
        }
        r = table_add_row(list->table);
        if (r >= 0)
                r = table_set_string(list->table, 0, row.key);
        if (r >= 0)
                r = table_set_string(list->table, 1, row.kind);
        if (r >= 0)
                r = table_set_string(list->table, 2, row.parent);
        if (r >= 0)
                r = table_set_string(list->table, 4, row.diff_id);
        return r < 0 ? r : table_set_number(list->table, 3, row.created);
}

static int run_snapshot_ls(Context *context, void *options, char **operands, Fault *fault) {
        _cleanup_(table_freep) Table *table = NULL;
        int r = table_new(snapshot_columns, ELEMENTS_OF(snapshot_columns), &table);
        return r < 0 ? r : run_list(context, options, &target_snapshots, on_snapshot, table, fault);
}

const Verb verb_snapshot_ls = {
        .name = "snapshot ls",
        .help = "List snapshots",
        .arguments = list_arguments,
        .options_size = sizeof(ListOptions),
        .run = run_snapshot_ls,
};
