/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bus/bus-names.h"
#include "bus/options.h"
#include "ctl/labels.h"
#include "ctl/listing.h"
#include "ctl/transfer-watch.h"
#include "ctl/verb.h"
#include "lib/label.h"
#include "lib/strv.h"

/* ---- snapshot ls, snapshot stat ---- */

static const Column snapshot_columns[] = {
        { "KEY", "key", CELL_STRING, .elastic = true },
        { "KIND", "kind", CELL_STRING },
        { "STATE", "state", CELL_STATE },
        { "DRIVER", "driver", CELL_STRING },
        { "PARENT", "parent", CELL_DIGEST },
        { "CREATED", "created", CELL_TIME },
        { "LABELS", "labels", CELL_STRING, .elastic = true },
};

static int run_snapshot_ls(Context *context, void *options, char **operands, Fault *fault) {
        const Listing listing = { &target_snapshots, "List", snapshot_columns,
                                  ELEMENTS_OF(snapshot_columns) };
        return listing_show(context, &listing, options, fault);
}

const Verb verb_snapshot_ls = {
        .name = "snapshot ls",
        .help = "List snapshots",
        .arguments = listing_arguments,
        .options_size = sizeof(ListingOptions),
        .run = run_snapshot_ls,
};

static int run_snapshot_stat(Context *context, void *options, char **operands, Fault *fault) {
        return listing_show_answer(context, &target_snapshots, "Stat", operands[0], fault);
}

const Verb verb_snapshot_stat = {
        .name = "snapshot stat",
        .operands = "KEY",
        .help = "Show what is known about a snapshot, as JSON",
        .operands_min = 1,
        .operands_max = 1,
        .run = run_snapshot_stat,
};

/* ---- snapshot prepare, view, commit ---- */

typedef struct MakeOptions {
        const char *parent, *driver;
        uint64_t size_max;
        char **labels;
        bool collectable;
} MakeOptions;

/* What somebody makes by hand is to stay until they remove it: no image or container refers to it. */
static int append_labels(sd_bus_message *message, const MakeOptions *options) {
        _cleanup_strv_ char **labels = NULL;
        int r = options->labels ? strv_copy((const char *const *) options->labels, &labels) : 0;
        if (r >= 0 && !options->collectable)
                r = strv_append(&labels, LABEL_GC_ROOT "=made by hand");
        return r < 0 || !labels ? r : bus_append_entry_map(message, "labels", labels);
}

/* member(first, second, options) */
static int make(Context *context, const char *member, char **operands, const MakeOptions *options,
                Fault *fault) {
        Client *client = &context->client;
        _cleanup_message_ sd_bus_message *message = NULL, *reply = NULL;
        const char *second = operands[1] ? operands[1] : "";

        int r = labels_check(options->labels, fault);
        if (r >= 0)
                r = client_new_call(client, &target_snapshots, member, &message, fault);
        if (r >= 0)
                r = sd_bus_message_append(message, "ss", operands[0], second);
        if (r >= 0)
                r = client_open_options(client, message);
        if (r >= 0 && options->parent)
                r = bus_append_entry(message, "parent", "s", options->parent);
        if (r >= 0 && options->driver)
                r = bus_append_entry(message, "driver", "s", options->driver);
        if (r >= 0 && options->size_max > 0)
                r = bus_append_entry(message, "size-max", "t", options->size_max);
        if (r >= 0)
                r = append_labels(message, options);
        if (r >= 0)
                r = client_close_options(message);
        if (r >= 0)
                r = client_call(client, message, &reply, fault);
        return r < 0 ? fault_prefix(fault, r, "%s", operands[0]) : 0;
}

/* The first two are for trees that are written to. */
static const Argument prepare_arguments[] = {
        { "driver", 0, "NAME", "How it is kept: overlayfs, btrfs, copy or erofs",
          offsetof(MakeOptions, driver) },
        { "size-max", 0, "SIZE", "What may be written to it (10G), where there are quotas",
          offsetof(MakeOptions, size_max), argument_size_limit },
        { "label", 0, "KEY=VALUE", "May be given several times", offsetof(MakeOptions, labels),
          argument_list },
        { "collectable", 0, NULL, "Do not keep it from the collection (org.crt.gc.root)",
          offsetof(MakeOptions, collectable) },
        {},
};
#define VIEW_ARGUMENTS (prepare_arguments + 2)

static int run_snapshot_prepare(Context *context, void *options, char **operands, Fault *fault) {
        return make(context, "Prepare", operands, options, fault);
}

const Verb verb_snapshot_prepare = {
        .name = "snapshot prepare",
        .operands = "KEY [PARENT]",
        .help = "Make a writable tree on top of a committed one",
        .arguments = prepare_arguments,
        .options_size = sizeof(MakeOptions),
        .operands_min = 1,
        .operands_max = 2,
        .run = run_snapshot_prepare,
};

static int run_snapshot_view(Context *context, void *options, char **operands, Fault *fault) {
        return make(context, "View", operands, options, fault);
}

const Verb verb_snapshot_view = {
        .name = "snapshot view",
        .operands = "KEY PARENT",
        .help = "Make a read-only look at a committed tree",
        .arguments = VIEW_ARGUMENTS,
        .options_size = sizeof(MakeOptions),
        .operands_min = 2,
        .operands_max = 2,
        .run = run_snapshot_view,
};

static const Argument commit_arguments[] = {
        { "parent", 0, "NAME", "Put it on top of this one", offsetof(MakeOptions, parent) },
        { "label", 0, "KEY=VALUE", "May be given several times", offsetof(MakeOptions, labels),
          argument_list },
        {},
};

static int run_snapshot_commit(Context *context, void *userdata, char **operands, Fault *fault) {
        MakeOptions *options = userdata;
        options->collectable = true; /* it keeps the labels that it has */
        return make(context, "Commit", operands, options, fault);
}

const Verb verb_snapshot_commit = {
        .name = "snapshot commit",
        .operands = "NAME KEY",
        .help = "Make a writable tree durable and read-only under a name",
        .arguments = commit_arguments,
        .options_size = sizeof(MakeOptions),
        .operands_min = 2,
        .operands_max = 2,
        .run = run_snapshot_commit,
};

/* ---- snapshot label, snapshot rm ---- */

static int run_snapshot_label(Context *context, void *options, char **operands, Fault *fault) {
        return labels_update(context, &target_snapshots, operands, options, fault);
}

const Verb verb_snapshot_label = {
        .name = "snapshot label",
        .operands = "KEY [KEY=[VALUE]…]",
        .help = "Change labels of a snapshot; one without a value goes",
        .arguments = labels_arguments,
        .options_size = sizeof(LabelsOptions),
        .operands_min = 1,
        .operands_max = OPERANDS_ANY,
        .run = run_snapshot_label,
};

static int remove_one(Context *context, void *options, const char *key, Fault *fault) {
        _cleanup_message_ sd_bus_message *reply = NULL;
        int r = client_invoke(&context->client, &target_snapshots, "Remove", key, &reply, fault);
        return r < 0 ? fault_prefix(fault, r, "%s", key) : 0;
}

static int run_snapshot_rm(Context *context, void *options, char **operands, Fault *fault) {
        return verb_for_each(context, options, operands, remove_one);
}

const Verb verb_snapshot_rm = {
        .name = "snapshot rm",
        .operands = "KEY…",
        .help = "Remove snapshots",
        .operands_min = 1,
        .operands_max = OPERANDS_ANY,
        .run = run_snapshot_rm,
};

/* ---- snapshot usage, cleanup, verify ---- */

static int run_snapshot_usage(Context *context, void *options, char **operands, Fault *fault) {
        return listing_show_answer(context, &target_snapshots, "Usage", operands[0], fault);
}

const Verb verb_snapshot_usage = {
        .name = "snapshot usage",
        .operands = "KEY",
        .help = "Show what a snapshot takes on the disk, as JSON",
        .operands_min = 1,
        .operands_max = 1,
        .run = run_snapshot_usage,
};

static int run_snapshot_cleanup(Context *context, void *options, char **operands, Fault *fault) {
        return listing_show_answer(context, &target_snapshots, "Cleanup", NULL, fault);
}

const Verb verb_snapshot_cleanup = {
        .name = "snapshot cleanup",
        .help = "Wait until what was removed is deleted from the disk",
        .run = run_snapshot_cleanup,
};

/* What is damaged is the exit status. */
static int report_verified(const Context *context, const TransferResult *result, Fault *fault) {
        const char *values[] = { "", "" };
        static const BusField fields[] = {
                { "checked", "s", 0 * sizeof(char *) },
                { "damaged", "s", 1 * sizeof(char *) },
                {},
        };
        int r = bus_fields_read(result->message, fields, values);
        if (r < 0)
                return r;
        if (context_is_json(context)) {
                (void) sd_bus_message_rewind(result->message, true);
                r = listing_show_entries(context, result->message, fault);
                return r < 0 ? r : values[1][0] != '\0';
        }
        printf("%s snapshots, damaged: %s\n", values[0], values[1][0] ? values[1] : "none");
        return values[1][0] != '\0';
}

static int run_snapshot_verify(Context *context, void *options, char **operands, Fault *fault) {
        _cleanup_(transfer_result_done) TransferResult result = { 0 };
        _cleanup_free_ char *path = NULL;
        int r = client_get_object(&context->client, &target_snapshots, "Verify", operands[0] ?: "", &path,
                                  fault);
        if (r < 0)
                return r;
        const BusTarget job = { CRT_SNAPSHOTS_NAME, path, CRT_SNAPSHOTS_JOB_INTERFACE };
        r = transfer_watch(context, &job, TRANSFER_WATCH_OURS, &result, fault);
        return r < 0 ? r : report_verified(context, &result, fault);
}

const Verb verb_snapshot_verify = {
        .name = "snapshot verify",
        .operands = "[KEY]",
        .help = "Compare a committed tree, or all, with what it was when it was committed",
        .operands_max = 1,
        .run = run_snapshot_verify,
};

/* ---- snapshot tree ---- */

typedef struct Node {
        char *key, *parent;
} Node;

typedef struct Forest {
        Node *nodes; /* in the order of their keys */
        size_t count;
} Forest;

static void forest_done(Forest *forest) {
        for (size_t i = 0; i < forest->count; i++) {
                free(forest->nodes[i].key);
                free(forest->nodes[i].parent);
        }
        free(forest->nodes);
}

static int on_node(sd_bus_message *message, void *userdata) {
        Forest *forest = userdata;
        const char *values[] = { "", "" };
        static const BusField fields[] = {
                { "key", "s", 0 * sizeof(char *) },
                { "parent", "s", 1 * sizeof(char *) },
                {},
        };
        int r = bus_fields_read(message, fields, values);
        if (r < 0)
                return r;
        Node *nodes = reallocarray(forest->nodes, forest->count + 1, sizeof(*nodes));
        if (!nodes)
                return -ENOMEM;
        forest->nodes = nodes;
        Node *node = &nodes[forest->count++];
        *node = (Node){ strdup(values[0]), strdup(values[1]) };
        return node->key && node->parent ? 0 : -ENOMEM;
}

#define TREE_DEPTH_MAX 500 /* of layers that can be mounted */

static void print_children(const Forest *forest, const char *parent, unsigned depth) {
        for (size_t i = 0; depth <= TREE_DEPTH_MAX && i < forest->count; i++) {
                if (!string_equal(forest->nodes[i].parent, parent))
                        continue;
                printf("%*s%s\n", (int) depth * 2, "", forest->nodes[i].key);
                print_children(forest, forest->nodes[i].key, depth + 1);
        }
}

static int run_snapshot_tree(Context *context, void *options, char **operands, Fault *fault) {
        _cleanup_(forest_done) Forest forest = { 0 };
        const ClientList list = { .target = &target_snapshots, .on_item = on_node, .userdata = &forest };
        int r = client_list(&context->client, &list, fault);
        if (r >= 0)
                print_children(&forest, "", 0);
        return r;
}

const Verb verb_snapshot_tree = {
        .name = "snapshot tree",
        .help = "Show which snapshot is built on which",
        .run = run_snapshot_tree,
};
