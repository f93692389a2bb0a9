/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The main of every crt daemon: logging, event loop, bus connection, authorization, readiness, watchdog,
 * orderly stop on SIGTERM, and exit when idle, without losing a request that arrives at that moment. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "bus/authorize.h"
#include "lib/fault.h"

typedef struct Daemon Daemon;

typedef struct DaemonSpec {
        const char *program;   /* "crt-contentd": SYSLOG_IDENTIFIER and --help */
        const char *bus_name;  /* "org.crt.Content" */
        const char *root_path; /* "/org/crt/Content": an ObjectManager stands here */
        const BusRule *rules;  /* the table of everything that may be called; the rest is refused */
        size_t rule_count;

        /* Opens the state and adds the objects (sd_bus_add_object_vtable() and friends on daemon_bus()). The
         * name is taken afterwards. The result comes back in the functions below. */
        int (*setup)(Daemon *daemon, void **ret_service, Fault *fault);

        /* True while there is work that must not be left: jobs, workers, kept outcomes, calls that are
         * answered later. */
        bool (*is_busy)(void *service);

        /* Who began an object, for rules with `owner`. May be NULL. */
        AuthorizerOwnerOf owner_of;

        /* SIGTERM: stop what is going on so that it can be continued. May be NULL. */
        void (*stop)(void *service);
        void *(*free)(void *service);

        unsigned idle_seconds; /* exit after so long without a request or work */
} DaemonSpec;

int daemon_main(const DaemonSpec *spec, int argc, char *argv[]);

sd_bus *daemon_bus(Daemon *daemon);
sd_event *daemon_event(Daemon *daemon);
PeerRegistry *daemon_peers(Daemon *daemon);
/* Descriptors of $STATE_DIRECTORY (/var/lib/crt/<service>) and $RUNTIME_DIRECTORY (/run/crt/<service>), as
 * systemd made them; -ENOENT with a sentence when the unit does not set them. The caller owns the
 * descriptor. */
int daemon_open_state_directory(Fault *fault);
int daemon_open_runtime_directory(Fault *fault);
/* What a variable of the environment says: a number from 1 to maximum; standard if it says nothing. -EINVAL
 * with a sentence: what is not understood is no limit that anybody could count on, so let setup() fail. */
int daemon_read_number(const char *variable, uint64_t standard, uint64_t maximum, uint64_t *ret,
                       Fault *fault);
/* Any event that shows that the daemon is in use: puts the idle exit off. */
void daemon_touch(Daemon *daemon);
