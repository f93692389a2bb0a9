/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "bus/job.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "bus/job-private.h"
#include "lib/limits.h"
#include "lib/strv.h"

#define ANNOUNCE_INTERVAL_USEC 200000U
#define OUTCOME_KEPT_USEC (60U * 1000000U)

static const char *const job_states[_JOB_STATE_MAX] = {
        [JOB_RUNNING] = "running",
        [JOB_DONE] = "done",
        [JOB_FAILED] = "failed",
        [JOB_CANCELLED] = "cancelled",
};

const char *job_state_to_string(JobState state) {
        assert(state >= 0 && state < _JOB_STATE_MAX);
        return job_states[state];
}

static uint64_t now_usec(void) {
        struct timespec now;
        (void) clock_gettime(CLOCK_REALTIME, &now);
        return (uint64_t) now.tv_sec * 1000000U + (uint64_t) now.tv_nsec / 1000U;
}

static int table_find(void *service, const char *namespace, const char *object, void **ret) {
        const JobTable *table = service;
        for (Job *job = table->jobs; job; job = job->next)
                if (string_equal(job->number, object) && string_equal(job->namespace, namespace)) {
                        *ret = job;
                        return 1;
                }
        return 0;
}

int job_table_owner_of(JobTable *table, const char *namespace, const char *object, uid_t *ret) {
        void *job;
        int r = table_find(table, namespace, object, &job);
        if (r > 0)
                *ret = ((const Job *) job)->spec.owner;
        return r;
}

static int table_list(void *service, ObjectKind *kind) {
        const JobTable *table = service;
        for (const Job *job = table->jobs; job; job = job->next) {
                int r = object_kind_list_add(kind, job->namespace, job->number);
                if (r < 0)
                        return r;
        }
        return 0;
}

int job_table_new(sd_bus *bus, const char *root_path, const char *kind, const char *interface,
                  JobTable **ret) {
        _cleanup_(job_table_freep) JobTable *table = new0(JobTable, 1);
        if (!table)
                return -ENOMEM;
        table->bus = sd_bus_ref(bus);
        table->next_number = 1;

        const ObjectKindSpec spec = {
                .root = root_path,
                .kind = kind,
                .interface = interface,
                .vtable = job_vtable,
                .find = table_find,
                .list = table_list,
                .service = table,
        };
        int r = object_kind_new(bus, &spec, &table->objects);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(table);
        return 0;
}

JobTable *job_table_free(JobTable *table) {
        if (!table)
                return NULL;
        while (table->jobs)
                job_free(table->jobs);
        object_kind_free(table->objects);
        sd_bus_unref(table->bus);
        free(table);
        return NULL;
}

bool job_table_is_busy(const JobTable *table) {
        return table->jobs != NULL;
}

Job *job_table_find_running(JobTable *table, const char *namespace, const char *work) {
        for (Job *job = table->jobs; job; job = job->next)
                if (job->state == JOB_RUNNING && !job->cancelling &&
                    string_equal(job->namespace, namespace) && job->work && string_equal(job->work, work))
                        return job;
        return NULL;
}

void job_table_cancel_all(JobTable *table) {
        for (Job *job = table->jobs, *next; job; job = next) {
                next = job->next;
                if (job->state == JOB_RUNNING)
                        job_cancel(job);
        }
}

static void parts_free(Job *job) {
        for (size_t i = 0; i < job->part_count; i++) {
                free(job->parts[i].id);
                free(job->parts[i].kind);
        }
        job->parts = mfree(job->parts);
        job->part_count = 0;
}

void job_free(Job *job) {
        Job **place = &job->table->jobs;
        while (*place && *place != job)
                place = &(*place)->next;
        if (*place)
                *place = job->next;
        sd_event_source_disable_unref(job->timer);
        while (job->waiters)
                job_waiter_free(job->waiters);
        parts_free(job);
        strv_free(job->result);
        strv_free(job->changed);
        fault_done(&job->fault);
        quota_hold_free(job->hold);
        free(job->number);
        free(job->namespace);
        free(job->verb);
        free(job->object);
        free(job->work);
        free(job);
}

static int job_copy_spec(Job *job, const JobSpec *spec) {
        job->spec = *spec;
        job->namespace = strdup(spec->namespace);
        job->verb = strdup(spec->verb);
        job->object = strdup(spec->object);
        job->work = spec->work ? strdup(spec->work) : NULL;
        if (!job->namespace || !job->verb || !job->object || (spec->work && !job->work))
                return -ENOMEM;
        return asprintf(&job->number, "%" PRIu64, job->table->next_number++) < 0 ? -ENOMEM : 0;
}

int job_new(JobTable *table, const JobSpec *spec, Job **ret) {
        Job *job = new0(Job, 1);
        if (!job)
                return -ENOMEM;
        *job = (Job){ .next = table->jobs, .table = table, .phase = "", .started = now_usec() };
        table->jobs = job;

        int r = job_copy_spec(job, spec);
        if (r >= 0)
                r = quota_hold_new(spec->owner, spec->quota, &job->hold);
        if (r < 0) {
                job_free(job);
                return r;
        }
        (void) object_kind_emit_added(table->objects, job->namespace, job->number);
        *ret = job;
        return 0;
}

int job_get_path(const Job *job, char **ret) {
        return object_kind_get_path(job->table->objects, job->namespace, job->number, ret);
}

void *job_userdata(const Job *job) {
        return job->spec.userdata;
}

static void job_announce_now(Job *job) {
        _cleanup_strv_ char **changed = TAKE_PTR(job->changed);
        if (changed)
                (void) object_kind_emit_changed(job->table->objects, job->namespace, job->number, changed);
}

static int job_set_timer(Job *job, uint64_t usec, sd_event_time_handler_t handler) {
        job->timer = sd_event_source_disable_unref(job->timer);
        return sd_event_add_time_relative(sd_bus_get_event(job->table->bus), &job->timer, CLOCK_MONOTONIC,
                                          usec, 0, handler, job);
}

static int on_interval(sd_event_source *source, uint64_t usec, void *userdata) {
        Job *job = userdata;
        job->announced = false;
        if (!job->changed)
                return 0;
        job_announce_now(job);
        job->announced = job_set_timer(job, ANNOUNCE_INTERVAL_USEC, on_interval) >= 0;
        return 0;
}

/* The first change is told at once, further ones together at the end of the interval. */
static void job_changed(Job *job, const char *property) {
        if (!strv_contains((const char *const *) job->changed, property))
                (void) strv_append(&job->changed, property);
        if (job->announced)
                return;
        job_announce_now(job);
        job->announced = job_set_timer(job, ANNOUNCE_INTERVAL_USEC, on_interval) >= 0;
}

int job_set_parts(Job *job, const JobPart *parts, size_t count) {
        JobPartState *states = new0(JobPartState, count + 1);
        if (!states)
                return -ENOMEM;
        parts_free(job);
        job->parts = states;
        job->part_count = count;
        for (size_t i = 0; i < count; i++) {
                states[i] = (JobPartState){
                        .id = strdup(parts[i].id),
                        .kind = strdup(parts[i].kind),
                        .state = "waiting",
                        .total = parts[i].total,
                };
                if (!states[i].id || !states[i].kind) {
                        job->part_count = i + 1;
                        parts_free(job);
                        return -ENOMEM;
                }
        }
        job_changed(job, "Parts");
        job_changed(job, "BytesTotal");
        return 0;
}

void job_part_progress(Job *job, size_t part, const char *state, uint64_t done) {
        assert(part < job->part_count);
        if (state)
                job->parts[part].state = state;
        job->parts[part].done = done;
        if (job->parts[part].total < done) {
                job->parts[part].total = done;
                job_changed(job, "BytesTotal");
        }
        job_changed(job, "Parts");
        job_changed(job, "BytesDone");
}

void job_set_phase(Job *job, const char *phase) {
        if (string_equal(job->phase, phase))
                return;
        job->phase = phase;
        job_changed(job, "Phase");
}

int job_set_result(Job *job, const char *key, const char *value) {
        return strv_appendf(&job->result, "%s=%s", key, value);
}

void job_cancel(Job *job) {
        if (job->cancelling)
                return;
        job->cancelling = true;
        job->spec.cancel(job, job->spec.userdata);
}

static void job_forget(Job *job) {
        (void) object_kind_emit_removed(job->table->objects, job->namespace, job->number);
        job_free(job);
}

static int on_forget(sd_event_source *source, uint64_t usec, void *userdata) {
        job_forget(userdata);
        return 0;
}

/* Keeps at most so many outcomes of one user; the list begins with the newest job. */
static void job_forget_some(JobTable *table, uid_t owner) {
        size_t kept = 0;
        for (Job *job = table->jobs, *next; job; job = next) {
                next = job->next;
                if (job->state != JOB_RUNNING && job->spec.owner == owner && ++kept > LIMIT_OUTCOMES_PER_UID)
                        job_forget(job);
        }
}

void job_finish(Job *job, int r, const Fault *fault) {
        static const char *const final[] = { "State", "Phase",  "BytesDone", "Parts",
                                             "Error", "Result", "Finished" };

        assert(job->state == JOB_RUNNING);
        job->state = r >= 0 ? JOB_DONE : r == -ECANCELED ? JOB_CANCELLED : JOB_FAILED;
        job->error = r < 0 ? r : 0;
        job->phase = "";
        job->finished = now_usec();
        if (r < 0)
                (void) fault_set(&job->fault, r, "%s",
                                 r == -ECANCELED && !(fault && fault->text) ? "cancelled"
                                                                            : fault_text(fault, r));
        job->hold = quota_hold_free(job->hold);

        for (size_t i = 0; i < ELEMENTS_OF(final); i++)
                if (!strv_contains((const char *const *) job->changed, final[i]))
                        (void) strv_append(&job->changed, final[i]);
        job_announce_now(job);
        while (job->waiters) {
                job_reply(job, job->waiters->message);
                job_waiter_free(job->waiters);
        }
        if (job_set_timer(job, OUTCOME_KEPT_USEC, on_forget) < 0)
                job_forget(job);
        else
                job_forget_some(job->table, job->spec.owner);
}
