/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bus/bus-names.h"
#include "bus/options.h"
#include "ctl/format.h"
#include "ctl/parse-values.h"
#include "ctl/table.h"
#include "ctl/transfer-watch.h"
#include "ctl/verb.h"
#include "lib/fd.h"
#include "lib/strv.h"

typedef struct GcOptions {
        bool plan, all_namespaces;
        const char *why, *older_than;
} GcOptions;

/* member(options), for Collect and Plan. */
static int call_with_scope(Context *context, const char *member, const GcOptions *options,
                           sd_bus_message **ret_reply, Fault *fault) {
        Client *client = &context->client;
        _cleanup_message_ sd_bus_message *message = NULL;
        uint64_t age;

        int r = client_new_call(client, &target_images, member, &message, fault);
        if (r >= 0)
                r = client_open_options(client, message);
        if (r >= 0 && options->all_namespaces)
                r = bus_append_entry(message, "all-namespaces", "b", 1);
        if (r >= 0 && options->older_than) {
                r = parse_span(options->older_than, &age, fault);
                if (r < 0)
                        return fault_prefix(fault, r, "--older-than=%s", options->older_than);
                r = bus_append_entry(message, "older-than", "t", age / 1000000);
        }
        if (r >= 0)
                r = client_close_options(message);
        return r < 0 ? r : client_call(client, message, ret_reply, fault);
}

/* ---- what went ---- */

static int report_collected(Context *context, sd_bus_message *result) {
        const char *values[] = { "0", "0", "0", "0" };
        static const BusField fields[] = {
                { "images", "s", 0 * sizeof(char *) },
                { "snapshots", "s", 1 * sizeof(char *) },
                { "blobs", "s", 2 * sizeof(char *) },
                { "bytes", "s", 3 * sizeof(char *) },
                {},
        };
        uint64_t bytes = 0;
        FormatBuffer size;

        int r = bus_fields_read(result, fields, values);
        if (r < 0)
                return r;
        (void) string_to_uint64(values[3], UINT64_MAX, &bytes);
        if (context_is_json(context))
                printf("{\"images\":%s,\"snapshots\":%s,\"blobs\":%s,\"bytes\":%" PRIu64 "}\n", values[0],
                       values[1], values[2], bytes);
        else
                printf("removed: %s images, %s snapshots, %s blobs, %s\n", values[0], values[1], values[2],
                       format_size(bytes, size));
        return 0;
}

static int collect(Context *context, const GcOptions *options, Fault *fault) {
        _cleanup_(transfer_result_done) TransferResult result = { 0 };
        _cleanup_message_ sd_bus_message *reply = NULL;
        const char *path;

        int r = call_with_scope(context, "Collect", options, &reply, fault);
        if (r >= 0)
                r = sd_bus_message_read(reply, "o", &path);
        if (r < 0)
                return r;
        const BusTarget job = { CRT_IMAGES_NAME, path, CRT_TRANSFER_INTERFACE };
        r = transfer_watch(context, &job, TRANSFER_WATCH_OURS, &result, fault);
        return r < 0 ? r : report_collected(context, result.message);
}

/* ---- what would go ---- */

enum { PLAN_KIND, PLAN_NAMESPACE, PLAN_NAME, PLAN_BYTES, PLAN_CREATED, PLAN_SINCE, _PLAN_MAX };

static const Column plan_columns[_PLAN_MAX] = {
        [PLAN_KIND] = { "KIND", "kind", CELL_STRING },
        [PLAN_NAMESPACE] = { "NAMESPACE", "namespace", CELL_STRING },
        [PLAN_NAME] = { "NAME", "name", CELL_STRING, .elastic = true },
        [PLAN_BYTES] = { "SIZE", "bytes", CELL_SIZE },
        [PLAN_CREATED] = { "CREATED", "created", CELL_TIME },
        [PLAN_SINCE] = { "UNUSED", "unused-since", CELL_TIME },
};

/* One line of the plan: fields with tabs between them. */
static int add_planned(Table *table, char *line) {
        int r = table_add_row(table);
        for (size_t column = 0; r >= 0 && column < _PLAN_MAX; column++) {
                const char *field = strsep(&line, "\t");
                uint64_t number;
                if (!field)
                        return -EBADMSG;
                if (column < PLAN_BYTES)
                        r = table_set_string(table, column, field);
                else if ((r = string_to_uint64(field, UINT64_MAX, &number)) >= 0)
                        r = table_set_number(table, column, number);
        }
        return r;
}

static int read_plan(int fd, Table *table) {
        _cleanup_free_ char *line = NULL;
        size_t size = 0;
        ssize_t n;
        int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        FILE *file = copy < 0 ? NULL : fdopen(copy, "r");
        int r = 0;

        if (!file) {
                r = -errno;
                fd_close(copy);
                return r;
        }
        while (r >= 0 && (n = getline(&line, &size, file)) > 0) {
                line[strcspn(line, "\n")] = '\0';
                r = add_planned(table, line);
        }
        (void) fclose(file);
        return r;
}

static int show_plan(Context *context, const GcOptions *options, Fault *fault) {
        _cleanup_(table_freep) Table *table = NULL;
        _cleanup_message_ sd_bus_message *reply = NULL;
        uint64_t things, bytes;
        FormatBuffer size;
        int fd;

        int r = call_with_scope(context, "Plan", options, &reply, fault);
        if (r >= 0)
                r = sd_bus_message_read(reply, "htt", &fd, &things, &bytes);
        if (r >= 0)
                r = table_new(plan_columns, _PLAN_MAX, &table);
        if (r >= 0)
                r = read_plan(fd, table);
        if (r >= 0)
                r = table_show(table, context, false, fault);
        if (r >= 0 && !context_is_json(context) && !context->no_legend)
                printf("\n%" PRIu64 " things, %s\n", things, format_size(bytes, size));
        return r;
}

/* ---- what keeps a thing ---- */

/* image:NAME, snapshot:KEY, blob:DIGEST or just a digest. */
static const char *split_thing(const char *text, const char **ret_name) {
        static const char *const kinds[] = { "image", "snapshot", "blob" };
        for (size_t i = 0; i < ELEMENTS_OF(kinds); i++) {
                const char *name = string_after(text, kinds[i]);
                if (name && name[0] == ':' && name[1]) {
                        *ret_name = name + 1;
                        return kinds[i];
                }
        }
        *ret_name = text;
        return string_after(text, "sha256:") || string_after(text, "sha512:") ? "blob" : NULL;
}

enum { WHY_KIND, WHY_NAME, WHY_REACHED, _WHY_MAX };

static const Column why_columns[_WHY_MAX] = {
        [WHY_KIND] = { "KIND", "kind", CELL_STRING },
        [WHY_NAME] = { "NAME", "name", CELL_STRING, .elastic = true },
        [WHY_REACHED] = { "REACHED BY", "reached-by", CELL_STRING, .elastic = true },
};

static int read_chain(sd_bus_message *reply, Table *table) {
        const char *kind, *name, *reached;
        int r = sd_bus_message_enter_container(reply, 'a', "(sss)");
        while (r >= 0 && (r = sd_bus_message_read(reply, "(sss)", &kind, &name, &reached)) > 0) {
                r = table_add_row(table);
                if (r >= 0)
                        r = table_set_string(table, WHY_KIND, kind);
                if (r >= 0)
                        r = table_set_string(table, WHY_NAME, name);
                if (r >= 0)
                        r = table_set_string(table, WHY_REACHED, reached);
        }
        return r;
}

static int show_why(Context *context, const GcOptions *options, Fault *fault) {
        Client *client = &context->client;
        _cleanup_(table_freep) Table *table = NULL;
        _cleanup_message_ sd_bus_message *message = NULL, *reply = NULL;
        const char *name, *kind = split_thing(options->why, &name);

        if (!kind)
                return fault_set(fault, -EINVAL,
                                 "--why=%s: a digest, or image:, snapshot: or blob: and a name is expected",
                                 options->why);
        int r = client_new_call(client, &target_images, "Why", &message, fault);
        if (r >= 0)
                r = sd_bus_message_append(message, "ss", kind, name);
        if (r >= 0)
                r = client_open_options(client, message);
        if (r >= 0)
                r = client_close_options(message);
        if (r >= 0)
                r = client_call(client, message, &reply, fault);
        if (r >= 0)
                r = table_new(why_columns, _WHY_MAX, &table);
        if (r >= 0)
                r = read_chain(reply, table);
        if (r < 0)
                return r;
        if (table_rows(table) == 0 && !context_is_json(context)) {
                printf("nothing keeps %s %s\n", kind, name);
                return 0;
        }
        return table_show(table, context, false, fault);
}

static int run_gc(Context *context, void *userdata, char **operands, Fault *fault) {
        const GcOptions *options = userdata;
        if (options->why && (options->plan || options->older_than || options->all_namespaces))
                return fault_set(fault, -EINVAL, "--why goes with no other option");
        if (options->why)
                return show_why(context, options, fault);
        return options->plan ? show_plan(context, options, fault) : collect(context, options, fault);
}

static const Argument gc_arguments[] = {
        { "plan", 0, NULL, "Only show what would go", offsetof(GcOptions, plan) },
        { "why", 0, "THING", "Only show what keeps image:NAME, snapshot:KEY or a digest",
          offsetof(GcOptions, why) },
        { "older-than", 0, "SPAN", "Leave what is younger: 24h", offsetof(GcOptions, older_than) },
        { "all-namespaces", 0, NULL, "In all of them; only for root", offsetof(GcOptions, all_namespaces) },
        {},
};

const Verb verb_gc = {
        .name = "gc",
        .help = "Remove what nothing needs",
        .arguments = gc_arguments,
        .options_size = sizeof(GcOptions),
        .run = run_gc,
};
