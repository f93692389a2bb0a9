/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A daemon on crt's bus layer with one method of each kind, for the tests of that layer. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bus/bus-error.h"
#include "bus/daemon.h"
#include "bus/job.h"
#include "bus/options.h"
#include "lib/strv.h"

#define PROBE_INTERFACE "org.crt.Probe1"

typedef struct Probe {
        Daemon *daemon;
        JobTable *jobs;
        sd_bus_slot *slot;
        unsigned unlisted_ran;
} Probe;

typedef struct ProbeOptions {
        const char *text;
        bool flag;
        uint32_t count;
        char **list;
        char **map;
} ProbeOptions;

static const BusOption probe_options[] = {
        { "text", "s", offsetof(ProbeOptions, text) },   { "flag", "b", offsetof(ProbeOptions, flag) },
        { "count", "u", offsetof(ProbeOptions, count) }, { "list", "as", offsetof(ProbeOptions, list) },
        { "map", "a{ss}", offsetof(ProbeOptions, map) },
};

static void probe_options_done(ProbeOptions *options) {
        strv_free(options->list);
        strv_free(options->map);
}

static int method_echo(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        _cleanup_(probe_options_done) ProbeOptions options = { .text = "" };
        const char *text;
        int r = sd_bus_message_read(message, "s", &text);
        if (r >= 0)
                r = bus_options_read(message, probe_options, ELEMENTS_OF(probe_options), &options, error);
        if (r < 0)
                return r;

        _cleanup_free_ char *reply = NULL;
        if (asprintf(&reply, "%s %s %s %i %u %zu %s ran:%u", text, bus_call_namespace(message), options.text,
                     options.flag, options.count, strv_length(options.list),
                     options.map && *options.map ? *options.map : "-",
                     ((Probe *) userdata)->unlisted_ran) < 0)
                return -ENOMEM;
        return sd_bus_reply_method_return(message, "s", reply);
}

static int method_unlisted(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        ((Probe *) userdata)->unlisted_ran++;
        return sd_bus_reply_method_return(message, NULL);
}

static int on_job_time(sd_event_source *source, uint64_t usec, void *userdata) {
        Job *job = userdata;
        job_part_progress(job, 0, "done", 10);
        (void) job_set_result(job, "answer", "42");
        job_finish(job, 0, NULL);
        sd_event_source_unref(source);
        return 0;
}

static void on_job_cancel(Job *job, void *userdata) {
        job_finish(job, -ECANCELED, NULL);
}

/* A job that ends after 50 ms ("finish"), fails at once ("fail"), or never ends ("wait"). */
static int method_begin(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Probe *probe = userdata;
        _cleanup_free_ char *path = NULL;
        const char *how;
        int r = sd_bus_message_read(message, "s", &how);
        if (r >= 0)
                r = bus_options_read(message, NULL, 0, NULL, error);
        if (r < 0)
                return r;

        const char *namespace = bus_call_namespace(message);
        Job *job = job_table_find_running(probe->jobs, namespace, how);
        const JobSpec spec = {
                .namespace = namespace,
                .verb = "probe",
                .object = how,
                .work = how,
                .owner = peer_uid(bus_current_peer(sd_bus_message_get_bus(message))),
                .quota = QUOTA_JOBS,
                .cancel = on_job_cancel,
        };
        if (!job && (r = job_new(probe->jobs, &spec, &job)) < 0)
                return bus_error_set_fault(error, r, NULL);
        r = job_get_path(job, &path);
        if (r >= 0)
                r = job_set_parts(job, (const JobPart[]){ { "sha256:1", "layer", 10 } }, 1);
        if (r < 0)
                return r;

        if (string_equal(how, "finish")) {
                sd_event_source *source;
                r = sd_event_add_time_relative(daemon_event(probe->daemon), &source, CLOCK_MONOTONIC, 50000,
                                               0, on_job_time, job);
        } else if (string_equal(how, "fail")) {
                _cleanup_(fault_done) Fault fault = FAULT_NULL;
                job_finish(job, fault_set(&fault, -EUCLEAN, "the bytes are not right"), &fault);
        }
        return r < 0 ? r : sd_bus_reply_method_return(message, "o", path);
}

static const sd_bus_vtable probe_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD("Echo", "sa{sv}", "s", method_echo, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("Guarded", "sa{sv}", "s", method_echo, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("Internal", "sa{sv}", "s", method_echo, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("Unlisted", "", "", method_unlisted, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("Begin", "sa{sv}", "o", method_begin, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_VTABLE_END,
};

static const BusRule probe_rules[] = {
        { PROBE_INTERFACE, "Echo", BUS_ANYONE },
        { PROBE_INTERFACE, "Guarded", BUS_POLKIT, "org.crt.probe.guarded", "thing", BUS_SIBLING_IMAGES,
          "text" },
        { PROBE_INTERFACE, "Internal", BUS_SIBLINGS },
        { PROBE_INTERFACE, "Begin", BUS_ANYONE },
        { "org.crt.Probe1.Job", "Wait", BUS_ANYONE },
        { "org.crt.Probe1.Job", "Cancel", BUS_POLKIT, "org.crt.probe.cancel", .owner = true },
};

static int probe_setup(Daemon *daemon, void **ret, Fault *fault) {
        Probe *probe = new0(Probe, 1);
        if (!probe)
                return -ENOMEM;
        probe->daemon = daemon;
        int r = job_table_new(daemon_bus(daemon), "/org/crt/Probe", "job", "org.crt.Probe1.Job",
                              &probe->jobs);
        if (r >= 0)
                r = sd_bus_add_object_vtable(daemon_bus(daemon), &probe->slot, "/org/crt/Probe",
                                             PROBE_INTERFACE, probe_vtable, probe);
        *ret = probe;
        return r;
}

static bool probe_is_busy(void *service) {
        return job_table_is_busy(((Probe *) service)->jobs);
}

static int probe_owner_of(void *service, const char *namespace, const char *object, uid_t *ret) {
        return job_table_owner_of(((Probe *) service)->jobs, namespace, object, ret);
}

static void probe_stop(void *service) {
        job_table_cancel_all(((Probe *) service)->jobs);
}

static void *probe_free(void *service) {
        Probe *probe = service;
        job_table_free(probe->jobs);
        sd_bus_slot_unref(probe->slot);
        free(probe);
        return NULL;
}

int main(int argc, char *argv[]) {
        static const DaemonSpec spec = {
                .program = "probe-daemon",
                .bus_name = "org.crt.Probe",
                .root_path = "/org/crt/Probe",
                .rules = probe_rules,
                .rule_count = ELEMENTS_OF(probe_rules),
                .setup = probe_setup,
                .owner_of = probe_owner_of,
                .is_busy = probe_is_busy,
                .stop = probe_stop,
                .free = probe_free,
                .idle_seconds = 1,
        };
        return daemon_main(&spec, argc, argv);
}
