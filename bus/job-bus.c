/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>

#include "bus/authorize.h"
#include "bus/bus-error.h"
#include "bus/job-private.h"
#include "bus/options.h"
#include "lib/limits.h"
#include "lib/strv.h"

static int property_string(sd_bus *bus, const char *path, const char *interface, const char *property,
                           sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const Job *job = userdata;
        const char *value = string_equal(property, "Namespace") ? job->namespace
                            : string_equal(property, "Verb")    ? job->verb
                            : string_equal(property, "Object")  ? job->object
                            : string_equal(property, "State")   ? job_state_to_string(job->state)
                                                                : job->phase;
        return sd_bus_message_append(reply, "s", value);
}

static int property_owner(sd_bus *bus, const char *path, const char *interface, const char *property,
                          sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const Job *job = userdata;
        return sd_bus_message_append(reply, "u", (uint32_t) job->spec.owner);
}

static int property_bytes(sd_bus *bus, const char *path, const char *interface, const char *property,
                          sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const Job *job = userdata;
        bool total = string_equal(property, "BytesTotal");
        uint64_t sum = 0;
        for (size_t i = 0; i < job->part_count; i++)
                sum += total ? job->parts[i].total : job->parts[i].done;
        return sd_bus_message_append(reply, "t", sum);
}

static int property_parts(sd_bus *bus, const char *path, const char *interface, const char *property,
                          sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const Job *job = userdata;
        int r = sd_bus_message_open_container(reply, 'a', "(ssstt)");
        for (size_t i = 0; r >= 0 && i < job->part_count; i++) {
                const JobPartState *part = &job->parts[i];
                r = sd_bus_message_append(reply, "(ssstt)", part->id, part->kind, part->state, part->done,
                                          part->total);
        }
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int property_error(sd_bus *bus, const char *path, const char *interface, const char *property,
                          sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const Job *job = userdata;
        return job->error < 0 ? sd_bus_message_append(reply, "(ss)", bus_error_name(job->error),
                                                      fault_text(&job->fault, job->error))
                              : sd_bus_message_append(reply, "(ss)", "", "");
}

static int append_result(sd_bus_message *reply, const Job *job) {
        int r = sd_bus_message_open_container(reply, 'a', "{sv}");
        for (char *const *p = job->result; r >= 0 && p && *p; p++) {
                const char *equals = strchr(*p, '=');
                _cleanup_free_ char *key = strndup(*p, (size_t) (equals - *p));
                r = key ? bus_append_entry(reply, key, "s", equals + 1) : -ENOMEM;
        }
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int property_result(sd_bus *bus, const char *path, const char *interface, const char *property,
                           sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        return append_result(reply, userdata);
}

static int property_time(sd_bus *bus, const char *path, const char *interface, const char *property,
                         sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const Job *job = userdata;
        return sd_bus_message_append(reply, "t",
                                     string_equal(property, "Started") ? job->started : job->finished);
}

static int job_build_reply(const Job *job, sd_bus_message *message) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        int r = sd_bus_message_new_method_return(message, &reply);
        if (r >= 0)
                r = append_result(reply, job);
        return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

/* The answer to Wait or Cancel of a job that has ended. */
void job_reply(Job *job, sd_bus_message *message) {
        bool cancel = string_equal(sd_bus_message_get_member(message), "Cancel");
        int r;

        if (cancel && job->state == JOB_CANCELLED)
                r = sd_bus_reply_method_return(message, NULL);
        else if (cancel)
                r = sd_bus_reply_method_errorf(message, bus_error_name(-EBUSY), "it has ended already: %s",
                                               job_state_to_string(job->state));
        else if (job->error < 0)
                r = bus_reply_fault(message, job->error, &job->fault);
        else
                r = job_build_reply(job, message);
        if (r < 0)
                (void) sd_bus_reply_method_errorf(message, bus_error_name(r), "the outcome cannot be told");
}

void job_waiter_free(JobWaiter *waiter) {
        JobWaiter **place = &waiter->job->waiters;
        while (*place != waiter)
                place = &(*place)->next;
        *place = waiter->next;
        waiter->job->waiter_count--;
        peer_watch_free(waiter->watch);
        sd_bus_message_unref(waiter->message);
        free(waiter);
}

static void waiter_on_gone(void *userdata) {
        job_waiter_free(userdata);
}

static int job_add_waiter(Job *job, sd_bus_message *message, sd_bus_error *error) {
        if (job->waiter_count >= LIMIT_WAITERS_PER_JOB)
                return bus_error_set_fault(error, -EDQUOT, NULL);
        JobWaiter *waiter = new0(JobWaiter, 1);
        if (!waiter)
                return -ENOMEM;
        *waiter = (JobWaiter){ .next = job->waiters, .job = job, .message = sd_bus_message_ref(message) };
        job->waiters = waiter;
        job->waiter_count++;
        int r = peer_watch_new(bus_current_peer(sd_bus_message_get_bus(message)), waiter_on_gone, waiter,
                               &waiter->watch);
        if (r < 0)
                job_waiter_free(waiter);
        return r < 0 ? r : 1;
}

int job_start(JobTable *table, const JobBeginning *beginning, char **ret_path, sd_bus_error *error) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        _cleanup_free_ char *path = NULL;
        Job *job = NULL;
        int r = job_new(table, &beginning->spec, &job);
        if (r >= 0)
                r = job_set_parts(job, &beginning->part, 1);
        if (r >= 0 && beginning->phase) {
                job_set_phase(job, beginning->phase);
                job_part_progress(job, 0, beginning->phase, 0);
        }
        if (r >= 0)
                r = job_get_path(job, &path);
        if (r >= 0)
                r = beginning->start(job, beginning->spec.userdata, &fault);
        if (r < 0) {
                if (job)
                        job_finish(job, r, &fault);
                return bus_error_set_fault(error, r, &fault);
        }
        *ret_path = TAKE_PTR(path);
        return 0;
}

static int method_wait(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Job *job = userdata;
        int r = bus_options_read(message, NULL, 0, NULL, error);
        if (r < 0)
                return r;
        if (job->state == JOB_RUNNING)
                return job_add_waiter(job, message, error);
        job_reply(job, message);
        return 1;
}

static int method_cancel(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Job *job = userdata;
        int r = bus_options_read(message, NULL, 0, NULL, error);
        if (r < 0)
                return r;
        if (job->state != JOB_RUNNING) {
                job_reply(job, message);
                return 1;
        }
        r = job_add_waiter(job, message, error);
        if (r >= 0)
                job_cancel(job);
        return r;
}

#define CONST SD_BUS_VTABLE_PROPERTY_CONST
#define CHANGES SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE

const sd_bus_vtable job_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_PROPERTY("Namespace", "s", property_string, 0, CONST),
        SD_BUS_PROPERTY("Verb", "s", property_string, 0, CONST),
        SD_BUS_PROPERTY("Object", "s", property_string, 0, CONST),
        SD_BUS_PROPERTY("Owner", "u", property_owner, 0, CONST),
        SD_BUS_PROPERTY("State", "s", property_string, 0, CHANGES),
        SD_BUS_PROPERTY("Phase", "s", property_string, 0, CHANGES),
        SD_BUS_PROPERTY("BytesDone", "t", property_bytes, 0, CHANGES),
        SD_BUS_PROPERTY("BytesTotal", "t", property_bytes, 0, CHANGES),
        SD_BUS_PROPERTY("Parts", "a(ssstt)", property_parts, 0, CHANGES),
        SD_BUS_PROPERTY("Error", "(ss)", property_error, 0, CHANGES),
        SD_BUS_PROPERTY("Result", "a{sv}", property_result, 0, CHANGES),
        SD_BUS_PROPERTY("Started", "t", property_time, 0, CONST),
        SD_BUS_PROPERTY("Finished", "t", property_time, 0, CHANGES),
        SD_BUS_METHOD_WITH_ARGS("Wait", SD_BUS_ARGS("a{sv}", options), SD_BUS_RESULT("a{sv}", result),
                                method_wait, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Cancel", SD_BUS_ARGS("a{sv}", options), SD_BUS_NO_RESULT, method_cancel,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_VTABLE_END,
};
