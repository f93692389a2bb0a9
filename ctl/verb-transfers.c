/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bus/bus-names.h"
#include "bus/object-path.h"
#include "ctl/managed-objects.h"
#include "ctl/table.h"
#include "ctl/transfer-watch.h"
#include "ctl/verb.h"
#include "lib/strv.h"

typedef struct TransfersOptions {
        bool all;
} TransfersOptions;

typedef struct TransferRow {
        const char *namespace, *verb, *object, *state, *phase;
        uint64_t done, total, started;
} TransferRow;

static const BusField transfer_fields[] = {
        { "Namespace", "s", offsetof(TransferRow, namespace) },
        { "Verb", "s", offsetof(TransferRow, verb) },
        { "Object", "s", offsetof(TransferRow, object) },
        { "State", "s", offsetof(TransferRow, state) },
        { "Phase", "s", offsetof(TransferRow, phase) },
        { "BytesDone", "t", offsetof(TransferRow, done) },
        { "BytesTotal", "t", offsetof(TransferRow, total) },
        { "Started", "t", offsetof(TransferRow, started) },
        {},
};

enum {
        TRANSFER_ID,
        TRANSFER_VERB,
        TRANSFER_OBJECT,
        TRANSFER_STATE,
        TRANSFER_PHASE,
        TRANSFER_DONE,
        TRANSFER_TOTAL,
        TRANSFER_STARTED,
        _TRANSFER_COLUMN_MAX,
};

static const Column transfer_columns[_TRANSFER_COLUMN_MAX] = {
        [TRANSFER_ID] = { "ID", "id", CELL_STRING },
        [TRANSFER_VERB] = { "VERB", "verb", CELL_STRING },
        [TRANSFER_OBJECT] = { "OBJECT", "object", CELL_STRING, .elastic = true },
        [TRANSFER_STATE] = { "STATE", "state", CELL_STATE },
        [TRANSFER_PHASE] = { "PHASE", "phase", CELL_STRING },
        [TRANSFER_DONE] = { "DONE", "bytes-done", CELL_SIZE },
        [TRANSFER_TOTAL] = { "TOTAL", "bytes-total", CELL_SIZE },
        [TRANSFER_STARTED] = { "STARTED", "started", CELL_TIME },
};

typedef struct TransfersList {
        const Context *context;
        const TransfersOptions *options;
        Table *table;
} TransfersList;

static int on_transfer(const char *path, sd_bus_message *message, void *userdata) {
        TransfersList *list = userdata;
        _cleanup_free_ char *namespace = NULL, *id = NULL;
        TransferRow row = { 0 };
        char own[CLIENT_NAMESPACE_SIZE];

        int r = bus_fields_read(message, transfer_fields, &row);
        if (r >= 0)
                r = object_path_decode(CRT_IMAGES_PATH, path, "transfer", &namespace, &id);
        if (r <= 0 || !string_equal(namespace, client_namespace(&list->context->client, own)) ||
            (!list->options->all && !string_equal(row.state, "running")))
                return r;

        const char *const strings[] = { id, row.verb, row.object, row.state, row.phase };
        r = table_add_row(list->table);
        for (size_t i = 0; r >= 0 && i < ELEMENTS_OF(strings); i++)
                r = table_set_string(list->table, TRANSFER_ID + i, strings[i]);
        if (r < 0)
                return r;
        table_set_number(list->table, TRANSFER_DONE, row.done);
        table_set_number(list->table, TRANSFER_TOTAL, row.total);
        return table_set_number(list->table, TRANSFER_STARTED, row.started);
}

static int run_transfers(Context *context, void *userdata, char **operands, Fault *fault) {
        _cleanup_(table_freep) Table *table = NULL;
        int r = table_new(transfer_columns, ELEMENTS_OF(transfer_columns), &table);
        if (r < 0)
                return r;
        TransfersList list = { context, userdata, table };
        const BusTarget target = { CRT_IMAGES_NAME, CRT_IMAGES_PATH, CRT_TRANSFER_INTERFACE };
        r = managed_objects_visit(&context->client, &target, on_transfer, &list, fault);
        return r < 0 ? r : table_show(table, context, false, fault);
}

static const Argument transfers_arguments[] = {
        { "all", 'a', NULL, "Also those that ended within the last minute",
          offsetof(TransfersOptions, all) },
        {},
};

const Verb verb_transfers = {
        .name = "transfers",
        .help = "List the pulls that are under way",
        .arguments = transfers_arguments,
        .options_size = sizeof(TransfersOptions),
        .run = run_transfers,
};

/* What the list shows as id, or a whole object path. */
static int transfer_path(Context *context, const char *id, char **ret) {
        char namespace[CLIENT_NAMESPACE_SIZE];
        if (id[0] == '/') {
                *ret = strdup(id);
                return *ret ? 0 : -ENOMEM;
        }
        return object_path_encode(CRT_IMAGES_PATH, "transfer", client_namespace(&context->client, namespace),
                                  id, ret);
}

static int cancel_one(Context *context, void *options, const char *id, Fault *fault) {
        _cleanup_free_ char *path = NULL;
        _cleanup_message_ sd_bus_message *message = NULL, *reply = NULL;

        int r = transfer_path(context, id, &path);
        if (r < 0)
                return r;
        const BusTarget transfer = { CRT_IMAGES_NAME, path, CRT_TRANSFER_INTERFACE };
        r = client_new_call(&context->client, &transfer, "Cancel", &message, fault);
        if (r >= 0)
                r = sd_bus_message_append(message, "a{sv}", 0);
        if (r >= 0)
                r = client_call(&context->client, message, &reply, fault);
        return r < 0 ? fault_prefix(fault, r, "%s", id) : 0;
}

static int run_cancel(Context *context, void *options, char **operands, Fault *fault) {
        return verb_for_each(context, options, operands, cancel_one);
}

const Verb verb_transfers_cancel = {
        .name = "transfers cancel",
        .operands = "ID…",
        .help = "Stop pulls; the next ones continue them",
        .operands_min = 1,
        .operands_max = OPERANDS_ANY,
        .run = run_cancel,
};

static int run_watch(Context *context, void *options, char **operands, Fault *fault) {
        _cleanup_(transfer_result_done) TransferResult result = { 0 };
        _cleanup_free_ char *path = NULL;
        int r = transfer_path(context, operands[0], &path);
        if (r >= 0)
                r = client_open(&context->client, fault);
        if (r >= 0) {
                const BusTarget transfer = { CRT_IMAGES_NAME, path, CRT_TRANSFER_INTERFACE };
                r = transfer_watch(context, &transfer, 0, &result, fault);
        }
        if (r < 0)
                return fault_prefix(fault, r, "%s", operands[0]);
        puts(result.name);
        return 0;
}

const Verb verb_transfers_watch = {
        .name = "transfers watch",
        .operands = "ID",
        .help = "Show the progress of a pull that somebody began",
        .operands_min = 1,
        .operands_max = 1,
        .run = run_watch,
};
