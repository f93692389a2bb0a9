/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Scopes, made by systemd: one call for each, and the signal that says that its job is done. systemd sends
 * that to whoever queued the job, so nobody has to subscribe. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bus/bus-error.h"
#include "lib/log.h"
#include "lib/strv.h"
#include "services/tasks/siblings-bus.h"

#define SYSTEMD_NAME "org.freedesktop.systemd1"
#define SYSTEMD_PATH "/org/freedesktop/systemd1"
#define SYSTEMD_MANAGER "org.freedesktop.systemd1.Manager"
#define SYSTEMD_UNIT_EXISTS "org.freedesktop.systemd1.UnitExists"

#define TIMEOUT (90 * UINT64_C(1000000))
/* The scope of an earlier run goes when systemd has noticed that it is empty. */
#define RETRY_INTERVAL UINT64_C(10000)
#define RETRIES 8
#define STOP_TIMEOUT UINT64_C(15000000)

static int send_start(SiblingCall *call);

static void fail(SiblingCall *call, int r, const char *what) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        SiblingAnswer answer = { .mount = -EBADF };
        fault_set(&fault, r, "systemd did not make the scope %s: %s", call->unit, what);
        sibling_call_answer(call, r, &answer, &fault);
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata) {
        SiblingCall *call = userdata;
        int r = send_start(call);
        if (r < 0)
                fail(call, r, "the call cannot be sent");
        return 0;
}

/* A unit of that name is left: failed, or about to go when systemd has seen that it is empty. If it does
 * not, it is stopped, for nothing of ours is in it. Twice as long from try to try. */
static int retry_later(SiblingCall *call) {
        sd_bus *bus = call->siblings->bus;
        int r = call->tries < 2
                        ? sd_bus_call_method_async(bus, NULL, SYSTEMD_NAME, SYSTEMD_PATH, SYSTEMD_MANAGER,
                                                   "ResetFailedUnit", NULL, NULL, "s", call->unit)
                        : sd_bus_call_method_async(bus, NULL, SYSTEMD_NAME, SYSTEMD_PATH, SYSTEMD_MANAGER,
                                                   "StopUnit", NULL, NULL, "ss", call->unit, "replace");
        if (r < 0)
                return r;
        call->timer = sd_event_source_disable_unref(call->timer);
        return sd_event_add_time_relative(sd_bus_get_event(call->siblings->bus), &call->timer,
                                          CLOCK_MONOTONIC, RETRY_INTERVAL << call->tries++, 1, on_retry,
                                          call);
}

static int on_queued(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        SiblingCall *call = userdata;
        const sd_bus_error *refused = sd_bus_message_get_error(message);
        if (!refused) {
                call->queued = true;
                return 0;
        }
        if (string_equal(refused->name, SYSTEMD_UNIT_EXISTS) && call->tries < RETRIES &&
            retry_later(call) >= 0)
                return 0;
        fail(call, -EHOSTUNREACH, refused->message ? refused->message : refused->name);
        return 0;
}

static int on_job_removed(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Siblings *siblings = userdata;
        const char *unit, *result;
        if (sd_bus_message_read(message, "uoss", NULL, NULL, &unit, &result) < 0)
                return 0;
        for (SiblingCall *call = siblings->calls; call; call = call->next) {
                if (!call->queued || !string_equal(call->unit, unit))
                        continue;
                call->queued = false;
                if (string_equal(result, "done")) {
                        SiblingAnswer answer = { .mount = -EBADF };
                        sibling_call_answer(call, 0, &answer, NULL);
                } else
                        fail(call, -EHOSTUNREACH, result);
                break; /* the call may be gone */
        }
        return 0;
}

int siblings_watch_jobs(Siblings *siblings) {
        return sd_bus_match_signal_async(siblings->bus, &siblings->jobs, SYSTEMD_NAME, SYSTEMD_PATH,
                                         SYSTEMD_MANAGER, "JobRemoved", on_job_removed, NULL, siblings);
}

static int append_limits(sd_bus_message *message, const ScopeLimits *limits) {
        int r = 0;
        if (limits->memory_max > 0)
                r = sd_bus_message_append(message, "(sv)", "MemoryMax", "t", limits->memory_max);
        if (r >= 0 && limits->tasks_max > 0)
                r = sd_bus_message_append(message, "(sv)", "TasksMax", "t", limits->tasks_max);
        /* Microseconds of CPU time in each second. */
        if (r >= 0 && limits->cpu_quota > 0)
                r = sd_bus_message_append(message, "(sv)", "CPUQuotaPerSecUSec", "t",
                                          limits->cpu_quota * 10000U);
        return r;
}

static int append_properties(sd_bus_message *message, const ScopeSpec *scope) {
        char slice[SCOPE_SLICE_MAX];
        _cleanup_free_ char *description = NULL;
        if (asprintf(&description, "Container %s of %s", scope->id, scope->namespace) < 0) {
                description = NULL;
                return -ENOMEM;
        }
        int r = sd_bus_message_append(message, "(sv)(sv)(sv)(sv)(sv)(sv)", "Description", "s", description,
                                      "Slice", "s", scope_slice(scope->bucket, slice), "PIDs", "au", 1,
                                      (uint32_t) scope->process, "Delegate", "b", 1, "CollectMode", "s",
                                      "inactive-or-failed", "TimeoutStopUSec", "t", STOP_TIMEOUT);
        return r < 0 ? r : append_limits(message, &scope->limits);
}

static int send_start(SiblingCall *call) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *message = NULL;
        sd_bus *bus = call->siblings->bus;
        int r = sd_bus_message_new_method_call(bus, &message, SYSTEMD_NAME, SYSTEMD_PATH, SYSTEMD_MANAGER,
                                               "StartTransientUnit");
        if (r >= 0)
                r = sd_bus_message_append(message, "ss", call->unit, "fail");
        if (r >= 0)
                r = sd_bus_message_open_container(message, 'a', "(sv)");
        if (r >= 0)
                r = append_properties(message, &call->scope);
        if (r >= 0)
                r = sd_bus_message_close_container(message);
        if (r >= 0)
                r = sd_bus_message_append(message, "a(sa(sv))", 0);
        if (r < 0)
                return r;
        call->slot = sd_bus_slot_unref(call->slot);
        return sd_bus_call_async(bus, &call->slot, message, on_queued, call, TIMEOUT);
}

int siblings_start_scope(Siblings *siblings, const ScopeSpec *spec, const SiblingReceiver *receiver,
                         SiblingCall **ret) {
        _cleanup_(sibling_call_freep) SiblingCall *call = NULL;
        int r = sibling_call_new(siblings, receiver, &call);
        if (r < 0)
                return r;
        call->scope = *spec;
        r = scope_name(spec->namespace, spec->id, call->unit);
        if (r >= 0)
                r = send_start(call);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(call);
        return 0;
}

void siblings_stop_scope(Siblings *siblings, const char *namespace, const char *id) {
        char unit[SCOPE_NAME_MAX];
        int r = scope_name(namespace, id, unit);
        if (r >= 0)
                r = sd_bus_call_method_async(siblings->bus, NULL, SYSTEMD_NAME, SYSTEMD_PATH,
                                             SYSTEMD_MANAGER, "StopUnit", NULL, NULL, "ss", unit, "replace");
        if (r < 0)
                log_warning("cannot stop the scope of container %s: %s", id, strerror(-r));
}
