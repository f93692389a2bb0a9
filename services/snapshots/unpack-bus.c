/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "bus/authorize.h"
#include "bus/bus-error.h"
#include "bus/options.h"
#include "lib/fd.h"
#include "lib/strv.h"
#include "services/snapshots/snapshots-bus.h"

/* What connects a task with its job, until the task's end. */
typedef struct UnpackJob {
        Job *job;         /* weak */
        UnpackTask *task; /* weak; NULL: at its end */
        UnpackQueue *queue;
        UnpackSpec *spec; /* weak: while it begins */
        char diff_id[DIGEST_STRING_MAX];
} UnpackJob;

typedef struct UnpackOptions {
        const char *diff_id;
        const char *compression;
        const char *labels;
        uint64_t size;
        uint64_t size_max;
        uint64_t entries_max;
        bool size_max_given;
        bool entries_max_given;
} UnpackOptions;

static const BusOption unpack_options[] = {
        { "diff-id", "s", offsetof(UnpackOptions, diff_id) },
        { "compression", "s", offsetof(UnpackOptions, compression) },
        { "size", "t", offsetof(UnpackOptions, size) },
        { "max-size", "t", offsetof(UnpackOptions, size_max), NULL,
          offsetof(UnpackOptions, size_max_given) },
        { "max-entries", "t", offsetof(UnpackOptions, entries_max), NULL,
          offsetof(UnpackOptions, entries_max_given) },
        { "security-labels", "s", offsetof(UnpackOptions, labels) },
};

/* ---- events ---- */

static void on_start(void *userdata) {
        const UnpackJob *unpack = userdata;
        job_set_phase(unpack->job, "unpacking");
        job_part_progress(unpack->job, 0, "unpacking", 0);
}

static void on_progress(uint64_t bytes, void *userdata) {
        const UnpackJob *unpack = userdata;
        job_part_progress(unpack->job, 0, NULL, bytes);
}

static void on_end(int r, uint64_t size, const Fault *fault, void *userdata) {
        UnpackJob *unpack = userdata;
        Job *job = unpack->job;
        char text[32];
        if (r >= 0) {
                (void) snprintf(text, sizeof(text), "%" PRIu64, size);
                int k = job_set_result(job, "diff-id", unpack->diff_id);
                if (k >= 0)
                        k = job_set_result(job, "size", text);
                r = k < 0 ? k : r;
        }
        free(unpack);
        job_finish(job, r, fault);
}

static void on_cancel(Job *job, void *userdata) {
        const UnpackJob *unpack = userdata;
        unpack_task_cancel(unpack->task);
}

/* ---- the call ---- */

static int read_digest(const UnpackOptions *options, Digest *ret, sd_bus_error *error) {
        if (!options->diff_id)
                return bus_invalid_argument(error, "option 'diff-id': is required");
        int r = digest_parse(options->diff_id, ret);
        if (r == -EOPNOTSUPP || (r >= 0 && ret->algorithm != DIGEST_SHA256))
                return sd_bus_error_setf(error, bus_error_name(-EOPNOTSUPP),
                                         "option 'diff-id': only sha256 is supported");
        return r < 0 ? bus_invalid_argument(error, "option 'diff-id': '%.80s' is no digest",
                                            options->diff_id)
                     : 0;
}

static int read_compression(const UnpackOptions *options, Compression *ret, sd_bus_error *error) {
        *ret = options->compression ? compression_from_string(options->compression) : COMPRESSION_AUTO;
        return *ret < 0 ? bus_invalid_argument(error,
                                               "option 'compression': must be 'none', 'gzip' or 'zstd'")
                        : 0;
}

/* Limits can be lowered only. */
static int read_limit(const char *key, uint64_t maximum, bool given, uint64_t *value, sd_bus_error *error) {
        if (!given)
                *value = maximum;
        return *value >= 1 && *value <= maximum
                       ? 0
                       : bus_invalid_argument(error, "option '%s': must be from 1 to %" PRIu64, key,
                                              maximum);
}

static int read_rules(UnpackOptions *options, const LayerRules *limits, LayerRules *ret,
                      sd_bus_error *error) {
        bool keep = string_equal(options->labels, "keep");
        if (options->labels && !keep && !string_equal(options->labels, "drop"))
                return bus_invalid_argument(error, "option 'security-labels': must be 'drop' or 'keep'");
        int r = read_limit("max-size", limits->size_max, options->size_max_given, &options->size_max, error);
        if (r >= 0)
                r = read_limit("max-entries", limits->entries_max, options->entries_max_given,
                               &options->entries_max, error);
        if (r < 0)
                return r;
        *ret = (LayerRules){ .size_max = options->size_max,
                             .entries_max = options->entries_max,
                             .keep_labels = keep };
        return 0;
}

/* Directories and devices would be read by the worker in the caller's stead, and through a socket the caller
 * could pass it descriptors. What only the caller's file system could say is left to the worker. */
static int check_layer(int fd, sd_bus_error *error) {
        struct stat st;
        if (fd_look(fd, &st) >= 0 && !S_ISREG(st.st_mode) && !S_ISFIFO(st.st_mode))
                return bus_invalid_argument(error, "layer: must be a regular file or a pipe");
        return fd_verify_access(fd, O_RDONLY) < 0
                       ? bus_invalid_argument(error, "layer: must be open for reading")
                       : 0;
}

static int read_call(sd_bus_message *message, const LayerRules *limits, UnpackSpec *spec,
                     UnpackOptions *options, sd_bus_error *error) {
        int r = sd_bus_message_read(message, "sh", &spec->key, &spec->layer);
        if (r >= 0)
                r = bus_options_read(message, unpack_options, ELEMENTS_OF(unpack_options), options, error);
        if (r >= 0)
                r = read_digest(options, &spec->diff_id, error);
        if (r >= 0)
                r = read_compression(options, &spec->compression, error);
        if (r >= 0)
                r = read_rules(options, limits, &spec->rules, error);
        return r < 0 ? r : check_layer(spec->layer, error);
}

static int start(Job *job, void *userdata, Fault *fault) {
        UnpackJob *unpack = userdata;
        unpack->job = job;
        return unpack_task_new(unpack->queue, unpack->spec, &unpack->task, fault);
}

static int begin(sd_bus_message *message, UnpackJob *unpack, uint64_t size, JobTable *jobs,
                 sd_bus_error *error) {
        _cleanup_free_ char *path = NULL;
        const UnpackSpec *spec = unpack->spec;
        const JobBeginning beginning = {
                .spec = { .namespace = spec->namespace,
                          .verb = "unpack",
                          .object = spec->key,
                          .owner = spec->uid,
                          .quota = QUOTA_JOBS,
                          .cancel = on_cancel,
                          .userdata = unpack },
                .part = { .id = unpack->diff_id, .kind = "layer", .total = size },
                .start = start,
        };
        int r = job_start(jobs, &beginning, &path, error);
        if (r < 0) {
                free(unpack);
                return r;
        }
        return sd_bus_reply_method_return(message, "o", path);
}

int snapshots_bus_unpack(sd_bus_message *message, UnpackQueue *queue, JobTable *jobs, sd_bus_error *error) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        UnpackOptions options = { 0 };
        UnpackSpec spec = {
                .namespace = bus_call_namespace(message),
                .on_start = on_start,
                .on_progress = on_progress,
                .on_end = on_end,
        };
        int r = read_call(message, unpack_queue_limits(queue), &spec, &options, error);
        if (r < 0)
                return r;
        r = snapshots_bus_caller(message, &spec.uid, &spec.limited);
        if (r < 0)
                return r;
        r = unpack_task_check(queue, spec.namespace, spec.key, &fault);
        if (r < 0)
                return bus_error_set_fault(error, r, &fault);

        UnpackJob *unpack = new0(UnpackJob, 1);
        if (!unpack)
                return -ENOMEM;
        *unpack = (UnpackJob){ .queue = queue, .spec = &spec };
        (void) digest_to_string(&spec.diff_id, unpack->diff_id);
        spec.userdata = unpack;
        return begin(message, unpack, options.size, jobs, error);
}
