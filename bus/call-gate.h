/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Calls of some members wait while it is closed, and go on in their order when it is opened. Only calls that
 * have been admitted (bus/authorize.h) are let in to wait. Behind one that waits, those of the same
 * connection wait as well that may undo what it does. Everything else passes always: whatever is not in the
 * table, and so all that only reads, never waits for a gate, neither by itself nor behind another. */

#include <stdbool.h>
#include <stddef.h>
#include <systemd/sd-bus.h>

#include "lib/macros.h"

typedef struct CallGate CallGate;

typedef struct CallGateMember {
        const char *interface;
        const char *member;
        bool follows; /* waits behind others of its connection only, never by itself */
} CallGateMember;

typedef struct CallGateSpec {
        sd_bus *bus;
        const CallGateMember *members; /* borrowed */
        size_t member_count;
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
