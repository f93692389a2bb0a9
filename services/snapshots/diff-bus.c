/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "bus/authorize.h"
#include "bus/bus-error.h"
#include "bus/options.h"
#include "lib/fd.h"
#include "services/snapshots/snapshots-bus.h"

/* What connects a task with its job, until the task's end. */
typedef struct DiffJob {
        Job *job;       /* weak */
        DiffTask *task; /* weak */
        DiffTable *table;
        DiffSpec *spec; /* weak: while it begins */
        int layer;      /* likewise */
} DiffJob;

typedef struct DiffOptions {
        const char *lower;
        const char *compression;
        uint32_t level;
        uint64_t epoch;
        bool clamp;
} DiffOptions;

static const BusOption diff_options[] = {
        { "lower", "s", offsetof(DiffOptions, lower) },
        { "compression", "s", offsetof(DiffOptions, compression) },
        { "level", "u", offsetof(DiffOptions, level) },
        { .key = "source-date-epoch",
          .signature = "t",
          .offset = offsetof(DiffOptions, epoch),
          .given_offset = offsetof(DiffOptions, clamp) },
};

/* ---- events ---- */

static void on_progress(uint64_t bytes, void *userdata) {
        const DiffJob *diff = userdata;
        job_part_progress(diff->job, 0, NULL, bytes);
}

static int set_results(Job *job, const DiffOutcome *outcome) {
        char size[32];
        (void) snprintf(size, sizeof(size), "%" PRIu64, outcome->size);
        int r = job_set_result(job, "diff-id", outcome->diff_id);
        if (r >= 0)
                r = job_set_result(job, "digest", outcome->digest);
        return r < 0 ? r : job_set_result(job, "size", size);
}

static void on_end(int r, const DiffOutcome *outcome, const Fault *fault, void *userdata) {
        DiffJob *diff = userdata;
        Job *job = diff->job;
        free(diff);
        if (r >= 0) {
                job_part_progress(job, 0, "done", outcome->size);
                r = set_results(job, outcome);
        }
        job_finish(job, r, fault);
}

static void on_cancel(Job *job, void *userdata) {
        const DiffJob *diff = userdata;
        diff_task_cancel(diff->task);
}

/* ---- the call ---- */

static int read_call(sd_bus_message *message, DiffSpec *spec, sd_bus_error *error) {
        DiffOptions options = { .compression = compression_to_string(COMPRESSION_NONE) };
        int r = sd_bus_message_read(message, "s", &spec->key);
        if (r >= 0)
                r = bus_options_read(message, diff_options, ELEMENTS_OF(diff_options), &options, error);
        if (r < 0)
                return r;
        spec->compression = compression_from_string(options.compression);
        if (spec->compression < 0)
                return bus_invalid_argument(error, "option 'compression': must be 'none', 'gzip' or 'zstd'");
        if (options.level > INT32_MAX || options.epoch > INT64_MAX)
                return bus_invalid_argument(error, "option '%s': is out of range",
                                            options.level > INT32_MAX ? "level" : "source-date-epoch");
        spec->lower = options.lower;
        spec->level = (int) options.level;
        spec->clamp = options.clamp;
        spec->epoch = (int64_t) options.epoch;
        return 0;
}

static int start(Job *job, void *userdata, Fault *fault) {
        DiffJob *diff = userdata;
        diff->job = job;
        return diff_task_new(diff->table, diff->spec, &diff->task, &diff->layer, fault);
}

static int begin(sd_bus_message *message, DiffJob *diff, JobTable *jobs, sd_bus_error *error) {
        _cleanup_free_ char *path = NULL;
        const DiffSpec *spec = diff->spec;
        const JobBeginning beginning = {
                .spec = { .namespace = spec->namespace,
                          .verb = "diff",
                          .object = spec->key,
                          .owner = spec->uid,
                          .quota = QUOTA_JOBS,
                          .cancel = on_cancel,
                          .userdata = diff },
                .part = { .id = spec->key, .kind = "layer" },
                .phase = "comparing",
                .start = start,
        };
        int r = job_start(jobs, &beginning, &path, error);
        if (r < 0) {
                free(diff);
                return r;
        }
        _cleanup_close_ int layer = TAKE_FD(diff->layer);
        return sd_bus_reply_method_return(message, "ho", layer, path);
}

int snapshots_bus_diff(sd_bus_message *message, DiffTable *table, JobTable *jobs, sd_bus_error *error) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        DiffSpec spec = { .namespace = bus_call_namespace(message),
                          .on_progress = on_progress,
                          .on_end = on_end };
        int r = read_call(message, &spec, error);
        if (r < 0)
                return r;
        r = snapshots_bus_caller(message, &spec.uid, &spec.limited);
        if (r < 0)
                return r;
        r = diff_task_check(table, &spec, &fault);
        if (r < 0)
                return bus_error_set_fault(error, r, &fault);
        DiffJob *diff = new0(DiffJob, 1);
        if (!diff)
                return -ENOMEM;
        *diff = (DiffJob){ .table = table, .spec = &spec, .layer = -EBADF };
        spec.userdata = diff;
        return begin(message, diff, jobs, error);
}
