/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bus/bus-names.h"
#include "bus/options.h"
#include "ctl/format.h"
#include "ctl/labels.h"
#include "ctl/listing.h"
#include "ctl/parse-values.h"
#include "ctl/verb.h"
#include "lib/fd.h"
#include "lib/strv.h"

/* ---- lease ls ---- */

static const Column lease_columns[] = {
        { "ID", "id", CELL_STRING, .elastic = true },
        { "CREATED", "created", CELL_TIME },
        { "UNTIL", "until", CELL_TIME },
        { "BOUND", "bound", CELL_STRING },
        { "OWNER", "owner", CELL_STRING, .elastic = true },
        { "FLAT", "flat", CELL_STRING },
        { "LABELS", "labels", CELL_STRING, .elastic = true },
};

static int run_lease_ls(Context *context, void *options, char **operands, Fault *fault) {
        const Listing listing = { &target_content, "ListLeases", lease_columns, ELEMENTS_OF(lease_columns) };
        return listing_show(context, &listing, options, fault);
}

const Verb verb_lease_ls = {
        .name = "lease ls",
        .help = "List leases",
        .arguments = listing_arguments,
        .options_size = sizeof(ListingOptions),
        .run = run_lease_ls,
};

/* ---- lease create ---- */

typedef struct CreateOptions {
        const char *until, *unit, *process;
        bool flat, replace;
        char **labels;
} LeaseOptions;

/* A span from now on, or a point of time. */
static int parse_deadline(const char *text, uint64_t *ret, Fault *fault) {
        uint64_t span;
        if (parse_span(text, &span, NULL) < 0)
                return parse_time(text, now_realtime_usec(), ret, fault);
        *ret = now_realtime_usec() + span;
        return 0;
}

static int append_deadline(sd_bus_message *message, const LeaseOptions *options, Fault *fault) {
        uint64_t until;
        if (!options->until)
                return 0;
        int r = parse_deadline(options->until, &until, fault);
        if (r < 0)
                return fault_prefix(fault, r, "--until=%s", options->until);
        return bus_append_entry(message, "until", "t", until);
}

static int append_process(sd_bus_message *message, const char *text, Fault *fault) {
        uint64_t number;
        if (string_to_uint64(text, INT32_MAX, &number) < 0 || number == 0)
                return fault_set(fault, -EINVAL, "--pid=%s: the number of a process is expected", text);
        _cleanup_close_ int fd = (int) syscall(SYS_pidfd_open, (pid_t) number, 0);
        if (fd < 0)
                return fault_set_errno(fault, -errno, "--pid=%s", text);
        return bus_append_entry(message, "pidfd", "h", fd);
}

static int append_create_options(sd_bus_message *message, const LeaseOptions *options, Fault *fault) {
        int r = append_deadline(message, options, fault);
        if (r >= 0 && options->unit)
                r = bus_append_entry(message, "unit", "s", options->unit);
        if (r >= 0 && options->process)
                r = append_process(message, options->process, fault);
        if (r >= 0 && options->flat)
                r = bus_append_entry(message, "flat", "b", 1);
        if (r >= 0 && options->labels)
                r = bus_append_entry_map(message, "labels", options->labels);
        return r;
}

static int run_lease_create(Context *context, void *userdata, char **operands, Fault *fault) {
        const LeaseOptions *options = userdata;
        Client *client = &context->client;
        _cleanup_message_ sd_bus_message *message = NULL, *reply = NULL;
        const char *path, *id;

        int r = labels_check(options->labels, fault);
        if (r >= 0)
                r = client_new_call(client, &target_content, "CreateLease", &message, fault);
        if (r >= 0)
                r = sd_bus_message_append(message, "s", operands[0] ? operands[0] : "");
        if (r >= 0)
                r = client_open_options(client, message);
        if (r >= 0)
                r = append_create_options(message, options, fault);
        if (r >= 0)
                r = client_close_options(message);
        if (r >= 0)
                r = client_call(client, message, &reply, fault);
        if (r >= 0)
                r = sd_bus_message_read(reply, "os", &path, &id);
        if (r < 0)
                return operands[0] ? fault_prefix(fault, r, "%s", operands[0]) : r;
        puts(id);
        return 0;
}

static const Argument create_arguments[] = {
        { "until", 0, "TIME", "When it ends by itself: 2h, 2030-01-31 12:00",
          offsetof(LeaseOptions, until) },
        { "unit", 0, "UNIT", "It ends with this unit of systemd", offsetof(LeaseOptions, unit) },
        { "pid", 0, "NUMBER", "It ends with this process", offsetof(LeaseOptions, process) },
        { "flat", 0, NULL, "Keep what it names, but not what that refers to", offsetof(LeaseOptions, flat) },
        { "label", 0, "KEY=VALUE", "May be given several times", offsetof(LeaseOptions, labels),
          argument_list },
        {},
};

const Verb verb_lease_create = {
        .name = "lease create",
        .operands = "[ID]",
        .help = "Make a lease; show its id",
        .arguments = create_arguments,
        .options_size = sizeof(LeaseOptions),
        .operands_max = 1,
        .run = run_lease_create,
};

/* ---- lease update, lease rm ---- */

static int get_lease(Context *context, const char *id, char **ret_path, Fault *fault) {
        int r = client_get_object(&context->client, &target_content, "GetLease", id, ret_path, fault);
        return r < 0 ? fault_prefix(fault, r, "%s", id) : 0;
}

static int append_update_options(sd_bus_message *message, const LeaseOptions *options, char **labels,
                                 Fault *fault) {
        int r = string_equal(options->until, "never") ? bus_append_entry(message, "until", "t", UINT64_C(0))
                                                      : append_deadline(message, options, fault);
        if (r >= 0 && (*labels || options->replace))
                r = bus_append_entry_map(message, "labels", labels);
        if (r >= 0 && options->replace)
                r = bus_append_entry(message, "replace-labels", "b", 1);
        return r;
}

static int run_lease_update(Context *context, void *userdata, char **operands, Fault *fault) {
        const LeaseOptions *options = userdata;
        _cleanup_message_ sd_bus_message *message = NULL, *reply = NULL;
        _cleanup_free_ char *path = NULL;
        int r = labels_check(operands + 1, fault);
        if (r >= 0)
                r = get_lease(context, operands[0], &path, fault);
        if (r < 0)
                return r;
        const BusTarget lease = { CRT_CONTENT_NAME, path, CRT_LEASE_INTERFACE };
        r = client_new_call(&context->client, &lease, "Update", &message, fault);
        if (r >= 0)
                r = sd_bus_message_open_container(message, 'a', "{sv}");
        if (r >= 0)
                r = append_update_options(message, options, operands + 1, fault);
        if (r >= 0)
                r = sd_bus_message_close_container(message);
        if (r >= 0)
                r = client_call(&context->client, message, &reply, fault);
        return r < 0 ? fault_prefix(fault, r, "%s", operands[0]) : 0;
}

static const Argument update_arguments[] = {
        { "until", 0, "TIME", "When it ends by itself from now on: 2h, a point of time, or never",
          offsetof(LeaseOptions, until) },
        { "replace", 'r', NULL, "All other labels go", offsetof(LeaseOptions, replace) },
        {},
};

const Verb verb_lease_update = {
        .name = "lease update",
        .operands = "ID [KEY=[VALUE]…]",
        .help = "Change when a lease ends, and its labels; one without a value goes",
        .arguments = update_arguments,
        .options_size = sizeof(LeaseOptions),
        .operands_min = 1,
        .operands_max = OPERANDS_ANY,
        .run = run_lease_update,
};

static int remove_one(Context *context, void *options, const char *id, Fault *fault) {
        _cleanup_message_ sd_bus_message *message = NULL, *reply = NULL;
        _cleanup_free_ char *path = NULL;
        int r = get_lease(context, id, &path, fault);
        if (r < 0)
                return r;
        const BusTarget lease = { CRT_CONTENT_NAME, path, CRT_LEASE_INTERFACE };
        r = client_new_call(&context->client, &lease, "Delete", &message, fault);
        if (r >= 0)
                r = sd_bus_message_append(message, "a{sv}", 0);
        if (r >= 0)
                r = client_call(&context->client, message, &reply, fault);
        return r < 0 ? fault_prefix(fault, r, "%s", id) : 0;
}

static int run_lease_rm(Context *context, void *options, char **operands, Fault *fault) {
        return verb_for_each(context, options, operands, remove_one);
}

const Verb verb_lease_rm = {
        .name = "lease rm",
        .operands = "ID…",
        .help = "End leases; what nothing else keeps goes with the next collection",
        .operands_min = 1,
        .operands_max = OPERANDS_ANY,
        .run = run_lease_rm,
};

/* ---- lease add, lease drop ---- */

/* TYPE:NAME, where a digest is content by itself. */
static int append_resource(sd_bus_message *message, const char *text, Fault *fault) {
        static const char *const types[] = { "content", "ingest", "image", "snapshot" };
        for (size_t i = 0; i < ELEMENTS_OF(types); i++) {
                const char *name = string_after(text, types[i]);
                if (name && name[0] == ':' && name[1])
                        return sd_bus_message_append(message, "(ss)", types[i], name + 1);
        }
        if (string_after(text, "sha256:") || string_after(text, "sha512:"))
                return sd_bus_message_append(message, "(ss)", "content", text);
        return fault_set(fault, -EINVAL,
                         "'%s': content:, ingest:, image: or snapshot: and a name is expected", text);
}

static int change_resources(Context *context, const char *member, char **operands, Fault *fault) {
        _cleanup_message_ sd_bus_message *message = NULL, *reply = NULL;
        _cleanup_free_ char *path = NULL;
        int r = get_lease(context, operands[0], &path, fault);
        if (r < 0)
                return r;
        const BusTarget lease = { CRT_CONTENT_NAME, path, CRT_LEASE_INTERFACE };
        r = client_new_call(&context->client, &lease, member, &message, fault);
        if (r >= 0)
                r = sd_bus_message_open_container(message, 'a', "(ss)");
        for (char **text = operands + 1; r >= 0 && *text; text++)
                r = append_resource(message, *text, fault);
        if (r >= 0)
                r = sd_bus_message_close_container(message);
        if (r >= 0)
                r = sd_bus_message_append(message, "a{sv}", 0);
        if (r >= 0)
                r = client_call(&context->client, message, &reply, fault);
        return r < 0 ? fault_prefix(fault, r, "%s", operands[0]) : 0;
}

static int run_lease_add(Context *context, void *options, char **operands, Fault *fault) {
        return change_resources(context, "Add", operands, fault);
}

const Verb verb_lease_add = {
        .name = "lease add",
        .operands = "ID TYPE:NAME…",
        .help = "Let a lease keep content:, ingest:, image: or snapshot: and its name",
        .operands_min = 2,
        .operands_max = OPERANDS_ANY,
        .run = run_lease_add,
};

static int run_lease_drop(Context *context, void *options, char **operands, Fault *fault) {
        return change_resources(context, "Remove", operands, fault);
}

const Verb verb_lease_drop = {
        .name = "lease drop",
        .operands = "ID TYPE:NAME…",
        .help = "Let a lease keep these no longer",
        .operands_min = 2,
        .operands_max = OPERANDS_ANY,
        .run = run_lease_drop,
};

/* ---- lease show ---- */

enum { RESOURCE_TYPE, RESOURCE_NAME, _RESOURCE_MAX };

static const Column resource_columns[_RESOURCE_MAX] = {
        [RESOURCE_TYPE] = { "TYPE", "type", CELL_STRING },
        [RESOURCE_NAME] = { "NAME", "name", CELL_STRING, .elastic = true },
};

static int read_resources(sd_bus_message *reply, Table *table, char **next) {
        const char *type, *name, *after;
        int r = sd_bus_message_enter_container(reply, 'a', "(ss)");
        while (r >= 0 && (r = sd_bus_message_read(reply, "(ss)", &type, &name)) > 0) {
                r = table_add_row(table);
                if (r >= 0)
                        r = table_set_string(table, RESOURCE_TYPE, type);
                if (r >= 0)
                        r = table_set_string(table, RESOURCE_NAME, name);
        }
        if (r >= 0)
                r = sd_bus_message_exit_container(reply);
        if (r >= 0)
                r = sd_bus_message_read(reply, "s", &after);
        if (r < 0)
                return r;
        *next = mfree(*next);
        return after[0] && !(*next = strdup(after)) ? -ENOMEM : 0;
}

static int list_resources(Client *client, const BusTarget *lease, Table *table, Fault *fault) {
        _cleanup_free_ char *next = NULL;
        do {
                _cleanup_message_ sd_bus_message *message = NULL, *reply = NULL;
                int r = client_new_call(client, lease, "ListResources", &message, fault);
                if (r >= 0)
                        r = sd_bus_message_open_container(message, 'a', "{sv}");
                if (r >= 0 && next)
                        r = bus_append_entry(message, "after", "s", next);
                if (r >= 0)
                        r = sd_bus_message_close_container(message);
                if (r >= 0)
                        r = client_call(client, message, &reply, fault);
                if (r >= 0)
                        r = read_resources(reply, table, &next);
                if (r < 0)
                        return r;
        } while (next);
        return 0;
}

static int run_lease_show(Context *context, void *options, char **operands, Fault *fault) {
        _cleanup_(table_freep) Table *table = NULL;
        _cleanup_free_ char *path = NULL;
        int r = get_lease(context, operands[0], &path, fault);
        if (r >= 0)
                r = table_new(resource_columns, _RESOURCE_MAX, &table);
        if (r < 0)
                return r;
        const BusTarget lease = { CRT_CONTENT_NAME, path, CRT_LEASE_INTERFACE };
        r = list_resources(&context->client, &lease, table, fault);
        return r < 0 ? r : table_show(table, context, true, fault);
}

const Verb verb_lease_show = {
        .name = "lease show",
        .operands = "ID",
        .help = "List what a lease keeps",
        .operands_min = 1,
        .operands_max = 1,
        .run = run_lease_show,
};
