/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>

#include "bus/authorize.h"
#include "bus/bus-error.h"
#include "bus/options.h"
#include "services/snapshots/snapshots-bus.h"
#include "services/snapshots/trash-collector.h"

/* The call itself is what is kept until the answer is there. */
static void reply_numbers(sd_bus_message *message, const char *const *keys, const uint64_t *values) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        int r = sd_bus_message_new_method_return(message, &reply);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "{sv}");
        for (; r >= 0 && *keys; keys++, values++)
                r = bus_append_entry(reply, *keys, "t", *values);
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        if (r >= 0)
                r = sd_bus_send(NULL, reply, NULL);
        if (r < 0)
                (void) bus_reply_fault(message, r, NULL);
}

/* ---- Usage ---- */

static void on_usage(int r, const SnapshotUsage *usage, const Fault *fault, void *userdata) {
        static const char *const keys[] = { "size", "inodes", "shared-size", "shared-inodes", NULL };
        sd_bus_message *message = userdata;
        if (r < 0)
                (void) bus_reply_fault(message, r, fault);
        else
                reply_numbers(message, keys,
                              (const uint64_t[]){ usage->size, usage->inodes, usage->shared_size,
                                                  usage->shared_inodes });
        sd_bus_message_unref(message);
}

int snapshots_bus_usage(sd_bus_message *message, UsageTable *table, sd_bus_error *error) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        UsageSpec spec = { .namespace = bus_call_namespace(message),
                           .on_end = on_usage,
                           .userdata = message };
        int r = sd_bus_message_read(message, "s", &spec.key);
        if (r >= 0)
                r = bus_options_read(message, NULL, 0, NULL, error);
        if (r < 0)
                return r;
        r = snapshots_bus_caller(message, &spec.uid, &spec.limited);
        if (r < 0)
                return r;
        sd_bus_message_ref(message);
        r = usage_start(table, &spec, &fault);
        if (r < 0) {
                sd_bus_message_unref(message);
                return bus_error_set_fault(error, r, &fault);
        }
        return 1;
}

/* ---- Cleanup ---- */

static void on_clean(int r, const TrashFreed *freed, const Fault *fault, void *userdata) {
        static const char *const keys[] = { "size", "inodes", NULL };
        sd_bus_message *message = userdata;
        if (r < 0)
                (void) bus_reply_fault(message, r, fault);
        else
                reply_numbers(message, keys, (const uint64_t[]){ freed->size, freed->inodes });
        sd_bus_message_unref(message);
}

int snapshots_bus_cleanup(sd_bus_message *message, SnapshotManager *manager, sd_bus_error *error) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        int r = bus_options_read(message, NULL, 0, NULL, error);
        if (r < 0)
                return r;
        sd_bus_message_ref(message);
        r = trash_collector_wait(manager->trash, on_clean, message, &fault);
        if (r < 0) {
                sd_bus_message_unref(message);
                return bus_error_set_fault(error, r, &fault);
        }
        return 1;
}
