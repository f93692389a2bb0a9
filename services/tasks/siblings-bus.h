/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The siblings on a bus. */

#include <systemd/sd-bus.h>

#include "services/tasks/siblings.h"

int siblings_new(sd_bus *bus, Siblings **ret);
Siblings *siblings_free(Siblings *siblings);
DEFINE_CLEANUP(Siblings *, siblings_free);

/* Within siblings-bus.c and scope-bus.c: a call's receiver is answered once, and the call is then its
 * holder's to free. */
struct SiblingCall {
        struct SiblingCall *next;
        Siblings *siblings; /* weak */
        SiblingReceiver receiver;
        int (*read)(sd_bus_message *message, SiblingAnswer *answer);
        sd_bus_slot *slot;
        bool answered;

        sd_event_source *timer;
        unsigned tries;

        /* Of Images and Snapshots. */
        sd_bus_message *message;
        uint64_t sent;

        /* Of scopes. */
        ScopeSpec scope;
        char unit[SCOPE_NAME_MAX];
        bool queued; /* the job is; its end is waited for */
};

struct Siblings {
        sd_bus *bus;
        sd_bus_slot *jobs; /* JobRemoved */
        SiblingCall *calls;
};

int sibling_call_new(Siblings *siblings, const SiblingReceiver *receiver, SiblingCall **ret);
void sibling_call_answer(SiblingCall *call, int r, SiblingAnswer *answer, const Fault *fault);
int siblings_watch_jobs(Siblings *siblings);
