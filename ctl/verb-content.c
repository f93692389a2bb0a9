/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bus/bus-names.h"
#include "bus/options.h"
#include "ctl/labels.h"
#include "ctl/listing.h"
#include "ctl/transfer-watch.h"
#include "ctl/verb.h"
#include "lib/fd.h"
#include "lib/strv.h"

/* ---- content ls, content ingests ---- */

static const Column blob_columns[] = {
        { "DIGEST", "digest", CELL_STRING, .elastic = true },
        { "SIZE", "size", CELL_SIZE },
        { "CREATED", "created", CELL_TIME },
        { "STATE", "state", CELL_STATE },
        { "LABELS", "labels", CELL_STRING, .elastic = true },
};

static int run_content_ls(Context *context, void *options, char **operands, Fault *fault) {
        const Listing listing = { &target_content, "List", blob_columns, ELEMENTS_OF(blob_columns) };
        return listing_show(context, &listing, options, fault);
}

const Verb verb_content_ls = {
        .name = "content ls",
        .help = "List blobs",
        .arguments = listing_arguments,
        .options_size = sizeof(ListingOptions),
        .run = run_content_ls,
};

static const Column ingest_columns[] = {
        { "REFERENCE", "reference", CELL_STRING, .elastic = true },
        { "DONE", "offset", CELL_SIZE },
        { "SIZE", "size", CELL_SIZE },
        { "STATE", "state", CELL_STATE },
        { "STARTED", "started", CELL_TIME },
};

static int run_content_ingests(Context *context, void *options, char **operands, Fault *fault) {
        const Listing listing = { &target_content, "ListIngests", ingest_columns,
                                  ELEMENTS_OF(ingest_columns) };
        return listing_show(context, &listing, options, fault);
}

const Verb verb_content_ingests = {
        .name = "content ingests",
        .help = "List blobs that are coming in or were left in the middle",
        .arguments = listing_arguments,
        .options_size = sizeof(ListingOptions),
        .run = run_content_ingests,
};

/* ---- content stat, content usage ---- */

static int run_content_stat(Context *context, void *options, char **operands, Fault *fault) {
        return listing_show_answer(context, &target_content, "Stat", operands[0], fault);
}

const Verb verb_content_stat = {
        .name = "content stat",
        .operands = "DIGEST",
        .help = "Show what is known about a blob, as JSON",
        .operands_min = 1,
        .operands_max = 1,
        .run = run_content_stat,
};

static int run_content_usage(Context *context, void *options, char **operands, Fault *fault) {
        return listing_show_answer(context, &target_content, "StatNamespace", NULL, fault);
}

const Verb verb_content_usage = {
        .name = "content usage",
        .help = "Show what the namespace holds, as JSON",
        .run = run_content_usage,
};

/* ---- content share ---- */

static int run_content_share(Context *context, void *options, char **operands, Fault *fault) {
        Client *client = &context->client;
        _cleanup_message_ sd_bus_message *message = NULL, *reply = NULL;
        bool shareable = string_equal(operands[0], "yes");

        if (!shareable && !string_equal(operands[0], "no"))
                return fault_set(fault, -EINVAL, "'%s': yes or no is expected", operands[0]);
        int r = client_new_call(client, &target_content, "UpdateNamespace", &message, fault);
        if (r >= 0)
                r = client_open_options(client, message);
        if (r >= 0)
                r = bus_append_entry(message, "shareable", "b", (int) shareable);
        if (r >= 0)
                r = client_close_options(message);
        return r < 0 ? r : client_call(client, message, &reply, fault);
}

const Verb verb_content_share = {
        .name = "content share",
        .operands = "yes|no",
        .help = "Give the blobs of the namespace to every other that names their digest",
        .operands_min = 1,
        .operands_max = 1,
        .run = run_content_share,
};

/* ---- content cat ---- */

static int run_content_cat(Context *context, void *options, char **operands, Fault *fault) {
        _cleanup_message_ sd_bus_message *reply = NULL;
        int fd;
        int r = client_invoke(&context->client, &target_content, "Open", operands[0], &reply, fault);
        if (r >= 0)
                r = sd_bus_message_read(reply, "h", &fd);
        if (r >= 0)
                r = fd_copy(fd, STDOUT_FILENO);
        if (r == -EPIPE) /* nobody reads on: that is the end, not an error */
                return 0;
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

/* ---- content ingest ---- */

typedef struct IngestOptions {
        const char *digest, *lease, *algorithm;
        uint64_t size, at_most;
        bool restart;
        char **labels;
} IngestOptions;

static int append_ingest_options(sd_bus_message *message, const IngestOptions *options) {
        int r = 0;
        if (options->digest)
                r = bus_append_entry(message, "digest", "s", options->digest);
        if (r >= 0 && options->size > 0)
                r = bus_append_entry(message, "size", "t", options->size);
        if (r >= 0 && options->at_most > 0)
                r = bus_append_entry(message, "at-most", "t", options->at_most);
        if (r >= 0 && options->lease)
                r = bus_append_entry(message, "lease", "s", options->lease);
        if (r >= 0 && options->labels)
                r = bus_append_entry_map(message, "labels", options->labels);
        if (r >= 0 && options->restart)
                r = bus_append_entry(message, "restart", "b", 1);
        if (r >= 0 && options->algorithm)
                r = bus_append_entry(message, "algorithm", "s", options->algorithm);
        return r;
}

static int begin_ingest(Client *client, const char *reference, const IngestOptions *options,
                        sd_bus_message **ret_reply, Fault *fault) {
        _cleanup_message_ sd_bus_message *message = NULL;
        int r = client_new_call(client, &target_content, "Ingest", &message, fault);
        if (r >= 0)
                r = sd_bus_message_append(message, "s", reference);
        if (r >= 0)
                r = client_open_options(client, message);
        if (r >= 0)
                r = append_ingest_options(message, options);
        if (r >= 0)
                r = client_close_options(message);
        return r < 0 ? r : client_call(client, message, ret_reply, fault);
}

static int input_is_shorter(Fault *fault) {
        return fault_set(fault, -EINVAL, "the input is shorter than what is there already; see --restart");
}

/* lseek(2) goes beyond the end of a file without a word. */
static int seek_input(uint64_t offset, const struct stat *input, Fault *fault) {
        off_t position = lseek(STDIN_FILENO, 0, SEEK_CUR);
        if (position < 0)
                return -errno;
        if (input->st_size < position || (uint64_t) (input->st_size - position) < offset)
                return input_is_shorter(fault);
        return lseek(STDIN_FILENO, (off_t) offset, SEEK_CUR) < 0 ? -errno : 0;
}

/* What an earlier try has brought is passed over in the input. Files of the kernel's say that they are
 * empty.
 */
static int skip_input(uint64_t offset, Fault *fault) {
        char buffer[65536];
        struct stat input;
        if (offset == 0)
                return 0;
        if (fstat(STDIN_FILENO, &input) < 0)
                return -errno;
        if (S_ISREG(input.st_mode) && input.st_size > 0)
                return seek_input(offset, &input, fault);
        while (offset > 0) {
                ssize_t n = fd_read_full(STDIN_FILENO, buffer, MIN_OF(offset, sizeof(buffer)));
                if (n < 0)
                        return (int) n;
                if (n == 0)
                        return input_is_shorter(fault);
                offset -= (uint64_t) n;
        }
        return 0;
}

static int run_content_ingest(Context *context, void *userdata, char **operands, Fault *fault) {
        const IngestOptions *options = userdata;
        Client *client = &context->client;
        _cleanup_message_ sd_bus_message *reply = NULL, *committed = NULL;
        const char *digest;
        uint64_t offset;
        int stream;

        int r = labels_check(options->labels, fault);
        if (r >= 0)
                r = begin_ingest(client, operands[0], options, &reply, fault);
        if (r >= 0)
                r = sd_bus_message_read(reply, "ht", &stream, &offset);
        if (r >= 0)
                r = skip_input(offset, fault);
        if (r >= 0)
                r = fd_copy(STDIN_FILENO, stream);
        if (r < 0 && r != -EPIPE) /* why no more was taken, Commit says */
                return fault_prefix(fault, r, "%s", operands[0]);
        reply = sd_bus_message_unref(reply); /* closes the stream: its end */
        r = client_invoke(client, &target_content, "Commit", operands[0], &committed, fault);
        if (r >= 0)
                r = sd_bus_message_read(committed, "s", &digest);
        if (r < 0)
                return fault_prefix(fault, r, "%s", operands[0]);
        puts(digest);
        return 0;
}

/* The first three are not for "commit". */
static const Argument ingest_arguments[] = {
        { "restart", 0, NULL, "Forget what an earlier try has left", offsetof(IngestOptions, restart) },
        { "at-most", 0, "BYTES", "How many bytes are taken", offsetof(IngestOptions, at_most),
          argument_size_limit },
        { "algorithm", 0, "NAME", "What it is hashed with: sha256 (default) or sha512",
          offsetof(IngestOptions, algorithm) },
        { "digest", 'd', "DIGEST", "What it must be", offsetof(IngestOptions, digest) },
        { "size", 's', "BYTES", "How many bytes must come", offsetof(IngestOptions, size), argument_size },
        { "lease", 0, "ID", "A lease that keeps it", offsetof(IngestOptions, lease) },
        { "label", 0, "KEY=VALUE", "May be given several times", offsetof(IngestOptions, labels),
          argument_list },
        {},
};
#define COMMIT_ARGUMENTS (ingest_arguments + 3)

const Verb verb_content_ingest = {
        .name = "content ingest",
        .operands = "REFERENCE",
        .help = "Store what comes on standard input; show its digest",
        .arguments = ingest_arguments,
        .options_size = sizeof(IngestOptions),
        .operands_min = 1,
        .operands_max = 1,
        .run = run_content_ingest,
};

/* ---- content commit ---- */

static int run_content_commit(Context *context, void *userdata, char **operands, Fault *fault) {
        const IngestOptions *options = userdata;
        Client *client = &context->client;
        _cleanup_message_ sd_bus_message *message = NULL, *reply = NULL;
        const char *digest;

        int r = labels_check(options->labels, fault);
        if (r >= 0)
                r = client_new_call(client, &target_content, "Commit", &message, fault);
        if (r >= 0)
                r = sd_bus_message_append(message, "s", operands[0]);
        if (r >= 0)
                r = client_open_options(client, message);
        if (r >= 0)
                r = append_ingest_options(message, options);
        if (r >= 0)
                r = client_close_options(message);
        if (r >= 0)
                r = client_call(client, message, &reply, fault);
        if (r >= 0)
                r = sd_bus_message_read(reply, "s", &digest);
        if (r < 0)
                return fault_prefix(fault, r, "%s", operands[0]);
        puts(digest);
        return 0;
}

const Verb verb_content_commit = {
        .name = "content commit",
        .operands = "REFERENCE",
        .help = "Make a blob of what an earlier ingest has brought; show its digest",
        .arguments = COMMIT_ARGUMENTS,
        .options_size = sizeof(IngestOptions),
        .operands_min = 1,
        .operands_max = 1,
        .run = run_content_commit,
};

/* ---- content abort, content rm ---- */

static int invoke_on(Context *context, const char *member, const char *name, Fault *fault) {
        _cleanup_message_ sd_bus_message *reply = NULL;
        int r = client_invoke(&context->client, &target_content, member, name, &reply, fault);
        return r < 0 ? fault_prefix(fault, r, "%s", name) : 0;
}

static int abort_one(Context *context, void *options, const char *reference, Fault *fault) {
        return invoke_on(context, "Abort", reference, fault);
}

static int run_content_abort(Context *context, void *options, char **operands, Fault *fault) {
        return verb_for_each(context, options, operands, abort_one);
}

const Verb verb_content_abort = {
        .name = "content abort",
        .operands = "REFERENCE…",
        .help = "Forget ingests that are not finished",
        .operands_min = 1,
        .operands_max = OPERANDS_ANY,
        .run = run_content_abort,
};

static int remove_one(Context *context, void *options, const char *digest, Fault *fault) {
        return invoke_on(context, "Delete", digest, fault);
}

static int run_content_rm(Context *context, void *options, char **operands, Fault *fault) {
        return verb_for_each(context, options, operands, remove_one);
}

const Verb verb_content_rm = {
        .name = "content rm",
        .operands = "DIGEST…",
        .help = "Take blobs out of the namespace",
        .operands_min = 1,
        .operands_max = OPERANDS_ANY,
        .run = run_content_rm,
};

/* ---- content label ---- */

static int run_content_label(Context *context, void *options, char **operands, Fault *fault) {
        return labels_update(context, &target_content, operands, options, fault);
}

const Verb verb_content_label = {
        .name = "content label",
        .operands = "DIGEST [KEY=[VALUE]…]",
        .help = "Change labels of a blob; one without a value goes",
        .arguments = labels_arguments,
        .options_size = sizeof(LabelsOptions),
        .operands_min = 1,
        .operands_max = OPERANDS_ANY,
        .run = run_content_label,
};

/* ---- content verify ---- */

/* Numbers come as text; what is damaged is the exit status. */
static int report_verified(const Context *context, const TransferResult *result, Fault *fault) {
        const char *values[] = { "", "", "" };
        static const BusField fields[] = {
                { "blobs", "s", 0 * sizeof(char *) },
                { "damaged", "s", 1 * sizeof(char *) },
                { "digests", "s", 2 * sizeof(char *) },
                {},
        };
        int r = bus_fields_read(result->message, fields, values);
        if (r < 0)
                return r;
        bool damaged = !string_equal(values[1], "0");
        if (context_is_json(context)) {
                (void) sd_bus_message_rewind(result->message, true);
                r = listing_show_entries(context, result->message, fault);
                return r < 0 ? r : damaged;
        }
        printf("%s blobs, %s damaged\n", values[0], values[1]);
        if (values[2][0])
                puts(values[2]);
        return damaged;
}

static int run_content_verify(Context *context, void *options, char **operands, Fault *fault) {
        _cleanup_(transfer_result_done) TransferResult result = { 0 };
        _cleanup_free_ char *path = NULL;
        int r = client_get_object(&context->client, &target_content, "Verify", operands[0] ?: "", &path,
                                  fault);
        if (r < 0)
                return r;
        const BusTarget job = { CRT_CONTENT_NAME, path, CRT_CONTENT_JOB_INTERFACE };
        r = transfer_watch(context, &job, TRANSFER_WATCH_OURS, &result, fault);
        return r < 0 ? r : report_verified(context, &result, fault);
}

const Verb verb_content_verify = {
        .name = "content verify",
        .operands = "[DIGEST]",
        .help = "Read a blob, or all, and compare it with its digest",
        .operands_max = 1,
        .run = run_content_verify,
};
