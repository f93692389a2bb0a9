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

static int make_job(VerifyJob *verify, const VerifySpec *spec, JobTable *jobs) {
        const JobSpec job = {
                .namespace = spec->namespace,
                .verb = "verify",
                .object = spec->key,
                .owner = spec->uid,
                .quota = QUOTA_JOBS,
                .cancel = on_cancel,
                .userdata = verify,
        };
        const JobPart part = { .id = spec->key, .kind = "snapshot" };
        int r = job_new(jobs, &job, &verify->job);
        if (r >= 0)
                r = job_set_parts(verify->job, &part, 1);
        if (r >= 0) {
                job_set_phase(verify->job, "verifying");
                job_part_progress(verify->job, 0, "verifying", 0);
        }
        return r;
}

static int begin(sd_bus_message *message, VerifySpec *spec, VerifyTable *table, JobTable *jobs,
                 sd_bus_error *error) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        _cleanup_free_ char *path = NULL;
        VerifyJob *verify = new0(VerifyJob, 1);
        if (!verify)
                return -ENOMEM;
        spec->userdata = verify;
        int r = make_job(verify, spec, jobs);
        if (r >= 0)
                r = job_get_path(verify->job, &path);
        if (r >= 0)
                r = verify_task_new(table, spec, &verify->task, &fault);
        if (r < 0) {
                Job *job = verify->job;
                free(verify);
                if (job)
                        job_finish(job, r, &fault);
                return bus_error_set_fault(error, r, &fault);
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
        const Peer *peer = bus_current_peer(sd_bus_message_get_bus(message));
        if (!peer)
                return -ENOTCONN;
        spec.uid = peer_uid(peer);
        spec.limited = snapshots_bus_is_limited(spec.uid);
        r = verify_task_check(table, &spec, &fault);
        return r < 0 ? bus_error_set_fault(error, r, &fault) : begin(message, &spec, table, jobs, error);
}
