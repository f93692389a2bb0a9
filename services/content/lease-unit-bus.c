/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/content/lease-unit-bus.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bus/bus-error.h"
#include "lib/strv.h"

#define UNIT_INTERFACE "org.freedesktop.systemd1.Unit"
#define INVOCATION_SIZE 16

struct UnitQuestion {
        char *unit;
        UnitAnswered answered;
        void *userdata;
        sd_bus_slot *slot;
};

typedef struct UnitState {
        char active[32];
        char invocation[2 * INVOCATION_SIZE + 1];
} UnitState;

UnitQuestion *unit_question_free(UnitQuestion *question) {
        if (!question)
                return NULL;
        sd_bus_slot_unref(question->slot);
        free(question->unit);
        free(question);
        return NULL;
}

static int read_invocation(sd_bus_message *message, UnitState *ret) {
        const uint8_t *bytes;
        const void *data;
        size_t size;

        int r = sd_bus_message_enter_container(message, 'v', "ay");
        if (r >= 0)
                r = sd_bus_message_read_array(message, 'y', &data, &size);
        if (r < 0)
                return r;
        bytes = data;
        for (size_t i = 0; i < MIN_OF(size, (size_t) INVOCATION_SIZE); i++)
                (void) snprintf(ret->invocation + 2 * i, 3, "%02x", bytes[i]);
        return sd_bus_message_exit_container(message);
}

static int read_state(sd_bus_message *message, UnitState *ret) {
        const char *key, *value;
        int r = sd_bus_message_enter_container(message, 'a', "{sv}");
        while (r >= 0 && (r = sd_bus_message_enter_container(message, 'e', "sv")) > 0) {
                r = sd_bus_message_read(message, "s", &key);
                if (r < 0)
                        break;
                if (string_equal(key, "ActiveState")) {
                        r = sd_bus_message_read(message, "v", "s", &value);
                        if (r >= 0)
                                (void) snprintf(ret->active, sizeof(ret->active), "%s", value);
                } else if (string_equal(key, "InvocationID"))
                        r = read_invocation(message, ret);
                else
                        r = sd_bus_message_skip(message, "v");
                if (r >= 0)
                        r = sd_bus_message_exit_container(message);
        }
        return r;
}

static int judge(const UnitQuestion *question, sd_bus_message *message, UnitState *state, Fault *fault) {
        const sd_bus_error *error = sd_bus_message_get_error(message);
        if (error && (string_equal(error->name, "org.freedesktop.systemd1.NoSuchUnit") ||
                      string_equal(error->name, SD_BUS_ERROR_UNKNOWN_OBJECT) ||
                      string_equal(error->name, SD_BUS_ERROR_INVALID_ARGS)))
                return fault_set(fault, -ENOENT, "there is no unit '%s'", question->unit);
        if (error)
                return fault_set(fault, -EAGAIN, "systemd does not tell about the unit '%s': %s",
                                 question->unit, error->message);
        int r = read_state(message, state);
        if (r < 0)
                return fault_set_errno(fault, -EAGAIN, "what systemd tells of a unit can't be read");
        if (string_equal(state->active, "inactive") || string_equal(state->active, "failed"))
                return fault_set(fault, -EBUSY, "the unit '%s' does not run", question->unit);
        return 0;
}

static int on_answer(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        UnitQuestion *question = userdata;
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        UnitAnswered answered = question->answered;
        void *data = question->userdata;
        UnitState state = { 0 };

        int r = judge(question, message, &state, &fault);
        answered(r, r < 0 ? NULL : state.invocation, &fault, data);
        return 0;
}

int unit_question_new(sd_bus *bus, const char *unit, UnitAnswered answered, void *userdata,
                      UnitQuestion **ret) {
        _cleanup_(unit_question_freep) UnitQuestion *question = new0(UnitQuestion, 1);
        _cleanup_free_ char *path = NULL;
        if (!question)
                return -ENOMEM;
        question->unit = strdup(unit);
        question->answered = answered;
        question->userdata = userdata;
        if (!question->unit)
                return -ENOMEM;
        int r = sd_bus_path_encode("/org/freedesktop/systemd1/unit", unit, &path);
        if (r >= 0)
                r = sd_bus_call_method_async(bus, &question->slot, "org.freedesktop.systemd1", path,
                                             "org.freedesktop.DBus.Properties", "GetAll", on_answer,
                                             question, "s", UNIT_INTERFACE);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(question);
        return 0;
}
