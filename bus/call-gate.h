/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Calls of some members wait while it is closed, and go on in their order when it is opened. Only calls that
 * have been admitted (bus/authorize.h) are let in to wait; behind one that waits, all others of the same
 * connection wait as well, but for those of the interface that opens it. */

#include <stddef.h>
#include <systemd/sd-bus.h>

#include "lib/macros.h"

typedef struct CallGate CallGate;

typedef struct CallGateMember {
        const char *interface;
        const char *member;
} CallGateMember;

typedef struct CallGateSpec {
        sd_bus *bus;
        const CallGateMember *members; /* borrowed */
        size_t member_count;
        const char *opener; /* interface; borrowed; NULL: none */
        /* More wait than may: it has to be opened. May be NULL. */
        void (*on_full)(void *userdata);
        void *userdata;
} CallGateSpec;

int call_gate_new(const CallGateSpec *spec, CallGate **ret);
CallGate *call_gate_free(CallGate *gate);
DEFINE_CLEANUP(CallGate *, call_gate_free);

/* It is open when it was opened as often as it was closed. */
void call_gate_close(CallGate *gate);
void call_gate_open(CallGate *gate);
