/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "bus/authorize.h"
#include "bus/bus-error.h"
#include "bus/options.h"
#include "lib/strv.h"
#include "services/snapshots/snapshots-bus.h"

/* What connects a task with its job, until the task's end. */
typedef struct VerifyJob {
        Job *job;         /* weak */
        VerifyTask *task; /* weak */
        VerifyTable *table;
        VerifySpec *spec; /* weak: while it begins */
} VerifyJob;

static void on_progress(uint64_t bytes, void *userdata) {
        const VerifyJob *verify = userdata;
        job_part_progress(verify->job, 0, NULL, bytes);
}

static int join(char *const *strv, char **ret) {
        char *text = calloc(1, strv_size(strv) + 1), *p = text;
        if (!text)
                return -ENOMEM;
        for (; strv && *strv; strv++)
                p = stpcpy(stpcpy(p, p > text ? " " : ""), *strv);
        *ret = text;
        return 0;
}

static int set_results(Job *job, const VerifyOutcome *outcome) {
        _cleanup_free_ char *damaged = NULL;
        char number[24];
        int r = join(outcome->damaged, &damaged);
        if (r >= 0)
                r = job_set_result(job, "damaged", damaged);
        (void) snprintf(number, sizeof(number), "%" PRIu64, outcome->checked);
        if (r >= 0)
                r = job_set_result(job, "checked", number);
        (void) snprintf(number, sizeof(number), "%" PRIu64, outcome->unknown);
        return r < 0 ? r : job_set_result(job, "unknown", number);
}

static void on_end(int r, const VerifyOutcome *outcome, const Fault *fault, void *userdata) {
        VerifyJob *verify = userdata;
        Job *job = verify->job;
        free(verify);
        if (r >= 0)
                r = set_results(job, outcome);
        job_finish(job, r, fault);
}

static void on_cancel(Job *job, void *userdata) {
        const VerifyJob *verify = userdata;
        verify_task_cancel(verify->task);
}

/* ---- the call ---- */

static int start(Job *job, void *userdata, Fault *fault) {
        VerifyJob *verify = userdata;
        verify->job = job;
        return verify_task_new(verify->table, verify->spec, &verify->task, fault);
}

static int begin(sd_bus_message *message, VerifyJob *verify, JobTable *jobs, sd_bus_error *error) {
        _cleanup_free_ char *path = NULL;
        const VerifySpec *spec = verify->spec;
        const JobBeginning beginning = {
                .spec = { .namespace = spec->namespace,
                          .verb = "verify",
                          .object = spec->key,
                          .owner = spec->uid,
                          .quota = QUOTA_JOBS,
                          .cancel = on_cancel,
                          .userdata = verify },
                .part = { .id = spec->key, .kind = "snapshot" },
                .phase = "verifying",
                .start = start,
        };
        int r = job_start(jobs, &beginning, &path, error);
        if (r < 0) {
                free(verify);
                return r;
        }
        return sd_bus_reply_method_return(message, "o", path);
}

int snapshots_bus_verify(sd_bus_message *message, VerifyTable *table, JobTable *jobs, sd_bus_error *error) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        VerifySpec spec = { .namespace = bus_call_namespace(message),
                            .on_progress = on_progress,
                            .on_end = on_end };
        int r = sd_bus_message_read(message, "s", &spec.key);
        if (r >= 0)
                r = bus_options_read(message, NULL, 0, NULL, error);
        if (r < 0)
                return r;
        r = snapshots_bus_caller(message, &spec.uid, &spec.limited);
        if (r < 0)
                return r;
        r = verify_task_check(table, &spec, &fault);
        if (r < 0)
                return bus_error_set_fault(error, r, &fault);
        VerifyJob *verify = new0(VerifyJob, 1);
        if (!verify)
                return -ENOMEM;
        *verify = (VerifyJob){ .table = table, .spec = &spec };
        spec.userdata = verify;
        return begin(message, verify, jobs, error);
}
