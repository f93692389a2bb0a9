/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "bus/bus-names.h"
#include "bus/options.h"
#include "ctl/format.h"
#include "ctl/parse-values.h"
#include "ctl/table.h"
#include "ctl/verb.h"
#include "lib/process.h"
#include "lib/strv.h"

/* ---- ps ---- */

typedef struct PsOptions {
        bool all, quiet, full;
        char **filters;
} PsOptions;

typedef struct ContainerRow {
        const char *id, *image, *state, *error;
        char **command;
        uint64_t created, started, finished;
        uint32_t pid;
        int32_t status;
} ContainerRow;

static const BusField container_fields[] = {
        { "Id", "s", offsetof(ContainerRow, id) },
        { "Image", "s", offsetof(ContainerRow, image) },
        { "State", "s", offsetof(ContainerRow, state) },
        { "Error", "s", offsetof(ContainerRow, error) },
        { "Command", "as", offsetof(ContainerRow, command) },
        { "Created", "t", offsetof(ContainerRow, created) },
        { "Started", "t", offsetof(ContainerRow, started) },
        { "Finished", "t", offsetof(ContainerRow, finished) },
        { "Pid", "u", offsetof(ContainerRow, pid) },
        { "ExitStatus", "i", offsetof(ContainerRow, status) },
        {},
};

enum {
        PS_ID,
        PS_IMAGE,
        PS_COMMAND,
        PS_CREATED,
        PS_STATUS,
        PS_PID,
        PS_STATE,
        PS_EXIT_STATUS,
        PS_STARTED,
        PS_FINISHED,
        _PS_MAX,
};

static const Column ps_columns[_PS_MAX] = {
        [PS_ID] = { "ID", "id", CELL_STRING },
        [PS_IMAGE] = { "IMAGE", "image", CELL_STRING, .elastic = true },
        [PS_COMMAND] = { "COMMAND", "command", CELL_COMMAND, .elastic = true },
        [PS_CREATED] = { "CREATED", "created", CELL_TIME },
        [PS_STATUS] = { "STATUS", NULL, CELL_STATE },
        [PS_PID] = { "PID", "pid", CELL_NUMBER },
        [PS_STATE] = { NULL, "state", CELL_STRING },
        [PS_EXIT_STATUS] = { NULL, "exit-status", CELL_INTEGER },
        [PS_STARTED] = { NULL, "started", CELL_TIME },
        [PS_FINISHED] = { NULL, "finished", CELL_TIME },
};

typedef struct PsList {
        const PsOptions *options;
        Table *table;
        uint64_t now_usec;
} PsList;

/* "running 3min", "stopped (7) 2h ago", "created". */
static void describe_state(const ContainerRow *row, uint64_t now_usec, char *buffer, size_t size) {
        FormatBuffer when;
        if (string_equal(row->state, "running") && row->started > 0)
                snprintf(buffer, size, "running %s",
                         format_span(now_usec > row->started ? now_usec - row->started : 0, when));
        else if (string_equal(row->state, "stopped"))
                snprintf(buffer, size, "stopped (%" PRIi32 ") %s", row->status,
                         format_age(now_usec, row->finished, when));
        else
                snprintf(buffer, size, "%s", row->state);
}

static int ps_add(PsList *list, const ContainerRow *row) {
        Table *table = list->table;
        char status[80];

        describe_state(row, list->now_usec, status, sizeof(status));
        int r = table_add_row(table);
        if (r >= 0)
                r = table_set_string(table, PS_ID, row->id);
        if (r >= 0)
                r = table_set_string(table, PS_IMAGE, row->image);
        if (r >= 0)
                r = table_set_list(table, PS_COMMAND, row->command);
        if (r >= 0)
                r = table_set_number(table, PS_CREATED, row->created);
        if (r >= 0)
                r = table_set_string(table, PS_STATUS, status);
        if (r >= 0)
                r = table_set_string(table, PS_STATE, row->state);
        if (r < 0)
                return r;
        table_set_number(table, PS_PID, row->pid);
        table_set_integer(table, PS_EXIT_STATUS, row->status);
        table_set_number(table, PS_STARTED, row->started);
        table_set_number(table, PS_FINISHED, row->finished);
        return 0;
}

static int ps_on_item(sd_bus_message *message, void *userdata) {
        PsList *list = userdata;
        ContainerRow row = { .id = "", .image = "", .state = "", .error = "", .status = -1 };

        int r = bus_fields_read(message, container_fields, &row);
        bool lives = string_equal(row.state, "running") || string_equal(row.state, "starting");
        if (r >= 0 && (lives || list->options->all)) {
                if (!list->options->quiet)
                        r = ps_add(list, &row);
                else
                        puts(row.id);
        }
        bus_fields_done(container_fields, &row);
        return r;
}

static int run_ps(Context *context, void *userdata, char **operands, Fault *fault) {
        const PsOptions *options = userdata;
        _cleanup_(table_freep) Table *table = NULL;

        int r = table_new(ps_columns, ELEMENTS_OF(ps_columns), &table);
        if (r < 0)
                return r;
        PsList list = { options, table, now_realtime_usec() };
        const ClientList call = {
                .target = &target_tasks,
                .filters = options->filters,
                .on_item = ps_on_item,
                .userdata = &list,
        };
        r = client_list(&context->client, &call, fault);
        if (r < 0 || options->quiet)
                return r;
        return table_show(table, context, options->full, fault);
}

static const Argument ps_arguments[] = {
        { "all", 'a', NULL, "Also those that do not run", offsetof(PsOptions, all) },
        { "quiet", 'q', NULL, "Only ids", offsetof(PsOptions, quiet) },
        { "full", 'l', NULL, "Shorten nothing", offsetof(PsOptions, full) },
        { "filter", 'f', "FILTER", "Only what fits: image==web,labels.tier==front; of several one must",
          offsetof(PsOptions, filters), argument_list },
        {},
};

const Verb verb_ps = {
        .name = "ps",
        .help = "List containers",
        .arguments = ps_arguments,
        .options_size = sizeof(PsOptions),
        .run = run_ps,
};

/* ---- kill, stop, wait, rm: each for every container named ---- */

static int container_call(Context *context, const char *id, const char *member, const char *argument,
                          Fault *fault) {
        _cleanup_free_ char *path = NULL;
        _cleanup_message_ sd_bus_message *message = NULL, *reply = NULL;

        int r = client_get_object(&context->client, &target_tasks, "Get", id, &path, fault);
        if (r < 0)
                return r;
        const BusTarget container = { CRT_TASKS_NAME, path, CRT_CONTAINER_INTERFACE };
        r = client_new_call(&context->client, &container, member, &message, fault);
        if (r >= 0 && string_equal(member, "Delete"))
                r = sd_bus_message_append(message, "a{sv}", 1, "force", "b",
                                          string_equal(argument, "force"));
        else if (r >= 0)
                r = sd_bus_message_append(message, "sa{sv}", argument, 0);
        return r < 0 ? r : client_call(&context->client, message, &reply, fault);
}

typedef struct KillOptions {
        const char *signal;
} KillOptions;

static int kill_one(Context *context, void *userdata, const char *id, Fault *fault) {
        const KillOptions *options = userdata;
        int r = container_call(context, id, "Kill", options->signal ? options->signal : "KILL", fault);
        return r < 0 ? fault_prefix(fault, r, "%s", id) : 0;
}

static int run_kill(Context *context, void *options, char **operands, Fault *fault) {
        return verb_for_each(context, options, operands, kill_one);
}

static const Argument kill_arguments[] = {
        { "signal", 's', "SIGNAL", "Name or number (KILL)", offsetof(KillOptions, signal) },
        {},
};

const Verb verb_kill = {
        .name = "kill",
        .operands = "CONTAINER…",
        .help = "Send containers a signal",
        .arguments = kill_arguments,
        .options_size = sizeof(KillOptions),
        .operands_min = 1,
        .operands_max = OPERANDS_ANY,
        .run = run_kill,
};

typedef struct RmOptions {
        bool force;
} RmOptions;

static int rm_one(Context *context, void *userdata, const char *id, Fault *fault) {
        const RmOptions *options = userdata;
        int r = container_call(context, id, "Delete", options->force ? "force" : "", fault);
        if (r == -EBUSY && !options->force && fault->text)
                return fault_prefix(fault, r, "%s (--force kills it first)", id);
        return r < 0 ? fault_prefix(fault, r, "%s", id) : 0;
}

static int run_rm(Context *context, void *options, char **operands, Fault *fault) {
        return verb_for_each(context, options, operands, rm_one);
}

static const Argument rm_arguments[] = {
        { "force", 'f', NULL, "Kill it first if it runs", offsetof(RmOptions, force) },
        {},
};

const Verb verb_rm = {
        .name = "rm",
        .operands = "CONTAINER…",
        .help = "Delete containers",
        .arguments = rm_arguments,
        .options_size = sizeof(RmOptions),
        .operands_min = 1,
        .operands_max = OPERANDS_ANY,
        .run = run_rm,
};

/* Waits for its end, at most for so long. -ETIMEDOUT as an outcome. */
static int container_wait(Context *context, const char *path, uint64_t usec, int32_t *ret_status,
                          Fault *fault) {
        _cleanup_message_ sd_bus_message *message = NULL, *reply = NULL;
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        const BusTarget container = { CRT_TASKS_NAME, path, CRT_CONTAINER_INTERFACE };

        int r = client_new_call(&context->client, &container, "Wait", &message, fault);
        if (r >= 0)
                r = sd_bus_message_append(message, "a{sv}", 0);
        if (r < 0)
                return r;
        r = sd_bus_call(context->client.bus, message, usec, &error, &reply);
        if (r == -ETIMEDOUT)
                return r;
        if (r < 0)
                return sd_bus_error_is_set(&error) ? client_fault_from_error(&error, fault) : r;
        return sd_bus_message_read(reply, "i", ret_status);
}

static int wait_one(Context *context, void *userdata, const char *id, Fault *fault) {
        _cleanup_free_ char *path = NULL;
        int32_t status;
        int r = client_get_object(&context->client, &target_tasks, "Get", id, &path, fault);
        if (r >= 0)
                r = container_wait(context, path, UINT64_MAX, &status, fault);
        if (r < 0)
                return fault_prefix(fault, r, "%s", id);
        printf("%" PRIi32 "\n", status);
        fflush(stdout);
        return 0;
}

static int run_wait(Context *context, void *options, char **operands, Fault *fault) {
        return verb_for_each(context, options, operands, wait_one);
}

const Verb verb_wait = {
        .name = "wait",
        .operands = "CONTAINER…",
        .help = "Wait until containers have ended; print their exit statuses",
        .operands_min = 1,
        .operands_max = OPERANDS_ANY,
        .run = run_wait,
};

#define STOP_SECONDS 10U

typedef struct StopOptions {
        const char *timeout, *signal;
        uint64_t usec;
} StopOptions;

/* Its stop signal, if the service tells one; a container that has ended in the meantime is what was wanted.
 */
static int stop_path(Context *context, const StopOptions *options, const char *id, const char *path,
                     Fault *fault) {
        _cleanup_message_ sd_bus_message *reply = NULL;
        static const BusField fields[] = { { "StopSignal", "s", 0 }, {} };
        const BusTarget container = { CRT_TASKS_NAME, path, CRT_CONTAINER_INTERFACE };
        const char *signal = "";
        int32_t status;

        int r = client_get_properties(&context->client, &container, &reply, fault);
        if (r >= 0)
                r = bus_fields_read(reply, fields, &signal);
        if (r < 0)
                return r;
        if (options->signal || !signal[0])
                signal = options->signal ? options->signal : "TERM";

        _cleanup_(fault_done) Fault ignored = FAULT_NULL;
        r = container_call(context, id, "Kill", signal, &ignored);
        if (r == -EBUSY)
                return 0;
        if (r < 0) {
                fault_move(fault, &ignored);
                return r;
        }
        r = container_wait(context, path, MAX_OF(options->usec, UINT64_C(1)), &status, fault);
        if (r != -ETIMEDOUT)
                return r == -ENOENT ? 0 : r;
        r = container_call(context, id, "Kill", "KILL", NULL);
        if (r < 0 && r != -EBUSY && r != -ENOENT)
                return r;
        r = container_wait(context, path, UINT64_MAX, &status, fault);
        return r == -ENOENT ? 0 : r;
}

static int stop_one(Context *context, void *options, const char *id, Fault *fault) {
        _cleanup_free_ char *path = NULL;
        int r = client_get_object(&context->client, &target_tasks, "Get", id, &path, fault);
        if (r >= 0)
                r = stop_path(context, options, id, path, fault);
        return r < 0 ? fault_prefix(fault, r, "%s", id) : 0;
}

static int run_stop(Context *context, void *userdata, char **operands, Fault *fault) {
        StopOptions *options = userdata;
        options->usec = UINT64_C(1000000) * STOP_SECONDS;
        if (options->timeout) {
                int r = parse_span(options->timeout, &options->usec, fault);
                if (r < 0)
                        return fault_prefix(fault, r, "--timeout=%s", options->timeout);
        }
        return verb_for_each(context, options, operands, stop_one);
}

static const Argument stop_arguments[] = {
        { "timeout", 't', "SECONDS", "Kill it when it runs after so long (10)",
          offsetof(StopOptions, timeout) },
        { "signal", 's', "SIGNAL", "Instead of its stop signal", offsetof(StopOptions, signal) },
        {},
};

const Verb verb_stop = {
        .name = "stop",
        .operands = "CONTAINER…",
        .help = "Ask containers to end; kill those that do not",
        .arguments = stop_arguments,
        .options_size = sizeof(StopOptions),
        .operands_min = 1,
        .operands_max = OPERANDS_ANY,
        .run = run_stop,
};
