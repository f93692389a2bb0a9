/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "bus/call-gate.h"

#include <errno.h>
#include <string.h>

#include "bus/authorize.h"
#include "lib/limits.h"
#include "lib/strv.h"

struct CallGate {
        CallGateSpec spec;
        sd_bus_slot *filter;
        sd_event_source *turn; /* lets go on what could not at once */
        sd_bus_message **waiting;
        size_t count, allocated;
        unsigned closed;
};

/* NULL: it passes. */
static const CallGateMember *find_member(const CallGate *gate, sd_bus_message *message) {
        for (size_t i = 0; i < gate->spec.member_count; i++)
                if (sd_bus_message_is_method_call(message, gate->spec.members[i].interface,
                                                  gate->spec.members[i].member) > 0)
                        return &gate->spec.members[i];
        return NULL;
}

static bool is_behind_another(const CallGate *gate, sd_bus_message *message) {
        const char *sender = sd_bus_message_get_sender(message);
        for (size_t i = 0; i < gate->count; i++)
                if (string_equal(sd_bus_message_get_sender(gate->waiting[i]), sender))
                        return true;
        return false;
}

static int let_wait(CallGate *gate, sd_bus_message *message) {
        if (gate->count == gate->allocated) {
                size_t more = MAX_OF(gate->allocated * 2, (size_t) 16);
                sd_bus_message **larger = reallocarray(gate->waiting, more, sizeof(*larger));
                if (!larger)
                        return -ENOMEM;
                gate->waiting = larger;
                gate->allocated = more;
        }
        gate->waiting[gate->count++] = sd_bus_message_ref(message);
        return 1;
}

static int on_message(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        CallGate *gate = userdata;

        if (gate->closed == 0 && gate->count == 0)
                return 0;
        const CallGateMember *member = find_member(gate, message);
        if (!member || (!(gate->closed > 0 && !member->follows) && !is_behind_another(gate, message)))
                return 0;
        int r = bus_call_begin_waiting(gate->spec.bus, message);
        if (r <= 0)
                return r < 0; /* 1: it was answered */
        r = let_wait(gate, message);
        /* It opens the gate, for this one as well: nothing may come to wait after that. */
        if (r >= 0 && gate->count >= LIMIT_GATED_CALLS && gate->spec.on_full)
                gate->spec.on_full(gate->spec.userdata);
        return r;
}

/* They pass the filter once more: what is taken from the queue here does not wait for itself. */
static void let_go(CallGate *gate) {
        size_t gone = 0;
        while (gone < gate->count && sd_bus_enqueue_for_read(gate->spec.bus, gate->waiting[gone]) >= 0)
                sd_bus_message_unref(gate->waiting[gone++]);
        gate->count -= gone;
        if (gate->count > 0)
                memmove(gate->waiting, gate->waiting + gone, gate->count * sizeof(*gate->waiting));
        /* The connection's own queue is full; there is room again after a turn. */
        (void) sd_event_source_set_enabled(gate->turn, gate->count > 0 ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
}

static int on_turn(sd_event_source *source, void *userdata) {
        CallGate *gate = userdata;
        if (gate->closed == 0)
                let_go(gate);
        return 0;
}

int call_gate_new(const CallGateSpec *spec, CallGate **ret) {
        _cleanup_(call_gate_freep) CallGate *gate = new0(CallGate, 1);
        if (!gate)
                return -ENOMEM;
        gate->spec = *spec;
        int r = sd_event_add_defer(sd_bus_get_event(spec->bus), &gate->turn, on_turn, gate);
        if (r >= 0)
                r = sd_event_source_set_enabled(gate->turn, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_bus_add_filter(spec->bus, &gate->filter, on_message, gate);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(gate);
        return 0;
}

CallGate *call_gate_free(CallGate *gate) {
        if (!gate)
                return NULL;
        sd_bus_slot_unref(gate->filter);
        sd_event_source_disable_unref(gate->turn);
        for (size_t i = 0; i < gate->count; i++)
                sd_bus_message_unref(gate->waiting[i]);
        free(gate->waiting);
        free(gate);
        return NULL;
}

void call_gate_close(CallGate *gate) {
        gate->closed++;
}

void call_gate_open(CallGate *gate) {
        assert(gate->closed > 0);
        if (--gate->closed == 0)
                let_go(gate);
}
