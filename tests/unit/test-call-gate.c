/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "bus/call-gate.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "bus/authorize.h"
#include "lib/limits.h"
#include "tests/unit/check.h"

/* Two ends of a socket that are each other's bus; everything is admitted unless the test says otherwise. */

#define INTERFACE "org.crt.Test"

static struct {
        sd_event *event;
        sd_bus *server, *client;
        sd_bus_slot *slot;
        CallGate *gate;
        unsigned passed; /* calls, in the order of their numbers */
        unsigned full;
        int admits;
} fixture;

/* In the place of the authorizer's. */
int bus_call_begin_waiting(sd_bus *bus, sd_bus_message *message) {
        return fixture.admits;
}

static int on_passed(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        uint32_t number;
        if (sd_bus_message_is_method_call(message, INTERFACE, NULL) <= 0)
                return 0;
        CHECK(sd_bus_message_read(message, "u", &number) > 0);
        CHECK_INT((int) number, (int) fixture.passed);
        fixture.passed++;
        return 1;
}

static void on_full(void *userdata) {
        fixture.full++;
        call_gate_open(fixture.gate);
}

static void run_all(void) {
        int r;
        while ((r = sd_event_run(fixture.event, 0)) > 0)
                ;
        CHECK_OK(r);
}

static void attach(sd_bus **bus, int fd, bool server) {
        sd_id128_t id = { 0 };
        CHECK_OK(sd_bus_new(bus));
        CHECK_OK(sd_bus_set_fd(*bus, fd, fd));
        if (server)
                CHECK_OK(sd_bus_set_server(*bus, 1, id));
        CHECK_OK(sd_bus_set_anonymous(*bus, 1));
        CHECK_OK(sd_bus_start(*bus));
        CHECK_OK(sd_bus_attach_event(*bus, fixture.event, 0));
}

static void set_up(void) {
        static const CallGateMember members[] = { { INTERFACE, "Gated" },
                                                  { INTERFACE, "Undo", .follows = true } };
        int ends[2];
        memset(&fixture, 0, sizeof(fixture));
        fixture.admits = 1;
        CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) >= 0);
        CHECK_OK(sd_event_new(&fixture.event));
        attach(&fixture.server, ends[0], true);
        attach(&fixture.client, ends[1], false);
        CHECK_OK(sd_bus_add_filter(fixture.server, &fixture.slot, on_passed, NULL));
        CHECK_OK(call_gate_new(&(CallGateSpec){ .bus = fixture.server,
                                                .members = members,
                                                .member_count = ELEMENTS_OF(members),
                                                .on_full = on_full },
                               &fixture.gate));
        run_all();
}

static void tear_down(void) {
        call_gate_free(fixture.gate);
        sd_bus_slot_unref(fixture.slot);
        sd_bus_close_unref(fixture.client);
        sd_bus_close_unref(fixture.server);
        sd_event_unref(fixture.event);
}

static void call(const char *member, uint32_t number) {
        sd_bus_message *message;
        CHECK_OK(sd_bus_message_new_method_call(fixture.client, &message, NULL, "/", INTERFACE, member));
        CHECK_OK(sd_bus_message_append(message, "u", number));
        CHECK_OK(sd_bus_message_set_expect_reply(message, 0));
        CHECK_OK(sd_bus_send(fixture.client, message, NULL));
        sd_bus_message_unref(message);
        run_all();
}

static void calls_wait_in_their_order(void) {
        set_up();
        call("Other", 0);
        call("Gated", 1);
        CHECK_INT((int) fixture.passed, 2);
        call_gate_close(fixture.gate);
        call("Other", 2);
        CHECK_INT((int) fixture.passed, 3);
        call("Undo", 3);
        CHECK_INT((int) fixture.passed, 4);
        call("Gated", 4);
        call("Undo", 5);
        call("Gated", 6);
        CHECK_INT((int) fixture.passed, 4);
        call_gate_open(fixture.gate);
        run_all();
        CHECK_INT((int) fixture.passed, 7);
        call("Gated", 7);
        CHECK_INT((int) fixture.passed, 8);
        tear_down();
}

/* Whoever sent it, and whatever else of theirs waits. */
static void what_only_reads_never_waits(void) {
        set_up();
        call_gate_close(fixture.gate);
        call("Gated", 3);
        call("Undo", 4);
        call("Read", 0);
        call("Read", 1);
        CHECK_INT((int) fixture.passed, 2);
        call_gate_close(fixture.gate);
        call("Read", 2);
        CHECK_INT((int) fixture.passed, 3);
        call_gate_open(fixture.gate);
        call_gate_open(fixture.gate);
        run_all();
        CHECK_INT((int) fixture.passed, 5);
        tear_down();
}

static void what_is_not_admitted_does_not_wait(void) {
        set_up();
        call_gate_close(fixture.gate);
        fixture.admits = 0;
        call("Gated", 0);
        CHECK_INT((int) fixture.passed, 1);
        fixture.admits = -EDQUOT;
        call("Gated", 1);
        call_gate_open(fixture.gate);
        run_all();
        CHECK_INT((int) fixture.passed, 1);
        tear_down();
}

/* The one that was too many passes, as do those that come after it. */
static void a_full_gate_is_opened_for_all(void) {
        set_up();
        call_gate_close(fixture.gate);
        for (uint32_t i = 0; i < LIMIT_GATED_CALLS - 1; i++)
                call("Gated", i);
        CHECK(fixture.full == 0 && fixture.passed == 0);
        call("Gated", LIMIT_GATED_CALLS - 1);
        CHECK(fixture.full == 1 && fixture.passed == LIMIT_GATED_CALLS);
        call("Gated", LIMIT_GATED_CALLS);
        call("Other", LIMIT_GATED_CALLS + 1);
        CHECK_INT((int) fixture.passed, LIMIT_GATED_CALLS + 2);
        tear_down();
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(calls_wait_in_their_order),
                CHECK_CASE(what_only_reads_never_waits),
                CHECK_CASE(what_is_not_admitted_does_not_wait),
                CHECK_CASE(a_full_gate_is_opened_for_all),
                {},
        });
}
