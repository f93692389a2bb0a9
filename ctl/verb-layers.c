/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Layers into and out of snapshots. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bus/bus-names.h"
#include "bus/options.h"
#include "ctl/style.h"
#include "ctl/transfer-watch.h"
#include "ctl/verb.h"
#include "lib/fd.h"
#include "lib/strv.h"

static const BusField diff_fields[] = {
        { "diff-id", "s", 0 },
        {},
};

/* ---- snapshot diff ---- */

typedef struct DiffOptions {
        const char *lower, *compression, *output, *source_date_epoch;
        uint64_t level;
        bool whole;
} DiffOptions;

static int append_diff_options(sd_bus_message *message, const DiffOptions *options, Fault *fault) {
        uint64_t epoch;
        int r = 0;
        if (options->whole || options->lower)
                r = bus_append_entry(message, "lower", "s", options->whole ? "" : options->lower);
        if (r >= 0 && options->compression)
                r = bus_append_entry(message, "compression", "s", options->compression);
        if (r >= 0 && options->level > 0)
                r = bus_append_entry(message, "level", "u", (uint32_t) options->level);
        if (r >= 0 && options->source_date_epoch) {
                if (string_to_uint64(options->source_date_epoch, INT64_MAX, &epoch) < 0)
                        return fault_set(fault, -EINVAL,
                                         "--source-date-epoch=%s: seconds since 1970 are expected",
                                         options->source_date_epoch);
                r = bus_append_entry(message, "source-date-epoch", "t", epoch);
        }
        return r;
}

static int begin_diff(Client *client, const char *key, const DiffOptions *options,
                      sd_bus_message **ret_reply, Fault *fault) {
        _cleanup_message_ sd_bus_message *message = NULL;
        int r = client_new_call(client, &target_snapshots, "Diff", &message, fault);
        if (r >= 0)
                r = sd_bus_message_append(message, "s", key);
        if (r >= 0)
                r = client_open_options(client, message);
        if (r >= 0)
                r = append_diff_options(message, options, fault);
        if (r >= 0)
                r = client_close_options(message);
        return r < 0 ? r : client_call(client, message, ret_reply, fault);
}

/* The layer goes to standard output or into a file, which is there only when all of it has come. */
static int receive_layer(int layer, const char *output, Fault *fault) {
        _cleanup_close_ int file = -EBADF;
        if (output) {
                file = open(output, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
                if (file < 0)
                        return fault_set_errno(fault, -errno, "%s", output);
        }
        int r = fd_copy(layer, file >= 0 ? file : STDOUT_FILENO);
        return r < 0 ? fault_set_errno(fault, r, "%s", output ? output : "standard output") : 0;
}

static int run_snapshot_diff(Context *context, void *userdata, char **operands, Fault *fault) {
        const DiffOptions *options = userdata;
        _cleanup_(transfer_result_done) TransferResult result = { 0 };
        _cleanup_message_ sd_bus_message *reply = NULL;
        const char *path, *diff_id = "";
        int layer;

        if (!options->output && style_is_terminal(STDOUT))
                return fault_set(fault, -EINVAL, "a layer is nothing for a terminal; see --output");
        int r = begin_diff(&context->client, operands[0], options, &reply, fault);
        if (r >= 0)
                r = sd_bus_message_read(reply, "ho", &layer, &path);
        if (r < 0)
                return fault_prefix(fault, r, "%s", operands[0]);
        r = receive_layer(layer, options->output, fault);
        if (r >= 0) {
                const BusTarget job = { CRT_SNAPSHOTS_NAME, path, CRT_SNAPSHOTS_JOB_INTERFACE };
                r = transfer_watch(context, &job, TRANSFER_WATCH_OURS | TRANSFER_WATCH_QUIET, &result,
                                   fault);
        }
        if (r >= 0)
                r = bus_fields_read(result.message, diff_fields, &diff_id);
        if (r >= 0 && options->output)
                puts(diff_id);
        if (r < 0 && r != -EEXIST && options->output)
                (void) unlink(options->output);
        return r < 0 ? fault_prefix(fault, r, "%s", operands[0]) : 0;
}

static const Argument diff_arguments[] = {
        { "output", 'o', "FILE", "Into a new file instead of standard output; show the DiffID",
          offsetof(DiffOptions, output) },
        { "compression", 'c', "KIND", "none, gzip or zstd", offsetof(DiffOptions, compression) },
        { "level", 0, "NUMBER", "How hard to compress", offsetof(DiffOptions, level), argument_number },
        { "lower", 0, "KEY", "What to compare it with, instead of its parent",
          offsetof(DiffOptions, lower) },
        { "whole", 0, NULL, "Compare it with nothing: all that is in it", offsetof(DiffOptions, whole) },
        { "source-date-epoch", 0, "SECONDS", "No time is later; the same tree gives the same archive",
          offsetof(DiffOptions, source_date_epoch) },
        {},
};

const Verb verb_snapshot_diff = {
        .name = "snapshot diff",
        .operands = "KEY",
        .help = "Make a layer of what a snapshot changes",
        .arguments = diff_arguments,
        .options_size = sizeof(DiffOptions),
        .operands_min = 1,
        .operands_max = 1,
        .run = run_snapshot_diff,
};

/* ---- snapshot unpack ---- */

typedef struct UnpackOptions {
        const char *compression, *labels;
        uint64_t size_max, entries_max;
} UnpackOptions;

/* Of a file it is known how much of it there is to come. */
static int append_size(sd_bus_message *message) {
        struct stat st;
        if (fstat(STDIN_FILENO, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size <= 0)
                return 0;
        return bus_append_entry(message, "size", "t", (uint64_t) st.st_size);
}

static int append_unpack_options(sd_bus_message *message, const UnpackOptions *options) {
        int r = append_size(message);
        if (r >= 0 && options->compression)
                r = bus_append_entry(message, "compression", "s", options->compression);
        if (r >= 0 && options->labels)
                r = bus_append_entry(message, "security-labels", "s", options->labels);
        if (r >= 0 && options->size_max > 0)
                r = bus_append_entry(message, "max-size", "t", options->size_max);
        if (r >= 0 && options->entries_max > 0)
                r = bus_append_entry(message, "max-entries", "t", options->entries_max);
        return r;
}

static int begin_unpack(Client *client, char **operands, const UnpackOptions *options,
                        sd_bus_message **ret_reply, Fault *fault) {
        _cleanup_message_ sd_bus_message *message = NULL;
        int r = client_new_call(client, &target_snapshots, "Unpack", &message, fault);
        if (r >= 0)
                r = sd_bus_message_append(message, "sh", operands[0], STDIN_FILENO);
        if (r >= 0)
                r = client_open_options(client, message);
        if (r >= 0)
                r = bus_append_entry(message, "diff-id", "s", operands[1]);
        if (r >= 0)
                r = append_unpack_options(message, options);
        if (r >= 0)
                r = client_close_options(message);
        return r < 0 ? r : client_call(client, message, ret_reply, fault);
}

static int run_snapshot_unpack(Context *context, void *options, char **operands, Fault *fault) {
        _cleanup_(transfer_result_done) TransferResult result = { 0 };
        _cleanup_message_ sd_bus_message *reply = NULL;
        const char *path;

        int r = begin_unpack(&context->client, operands, options, &reply, fault);
        if (r >= 0)
                r = sd_bus_message_read(reply, "o", &path);
        if (r >= 0) {
                const BusTarget job = { CRT_SNAPSHOTS_NAME, path, CRT_SNAPSHOTS_JOB_INTERFACE };
                r = transfer_watch(context, &job, TRANSFER_WATCH_OURS, &result, fault);
        }
        return r < 0 ? fault_prefix(fault, r, "%s", operands[0]) : 0;
}

static const Argument unpack_arguments[] = {
        { "compression", 'c', "KIND", "none, gzip or zstd, instead of what its first bytes say",
          offsetof(UnpackOptions, compression) },
        { "max-size", 0, "SIZE", "Of the archive, and of all its files with their holes",
          offsetof(UnpackOptions, size_max), argument_size_limit },
        { "max-entries", 0, "NUMBER", "Of files and directories", offsetof(UnpackOptions, entries_max),
          argument_number_limit },
        { "security-labels", 0, "WHAT", "'keep' those of SELinux, or 'drop' them (the default)",
          offsetof(UnpackOptions, labels) },
        {},
};

const Verb verb_snapshot_unpack = {
        .name = "snapshot unpack",
        .operands = "KEY DIFF-ID",
        .help = "Unpack a layer on standard input into an empty tree",
        .arguments = unpack_arguments,
        .options_size = sizeof(UnpackOptions),
        .operands_min = 2,
        .operands_max = 2,
        .run = run_snapshot_unpack,
};
