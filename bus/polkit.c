/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "bus/polkit.h"

#include <errno.h>
#include <stdint.h>

#include "lib/log.h"
#include "lib/macros.h"

#define POLKIT_ALLOW_USER_INTERACTION 1U
#define POLKIT_TIMEOUT_USEC (60ULL * 1000000ULL)

typedef struct Question {
        PolkitAnswered answered;
        void *userdata;
} Question;

static PolkitAnswer read_answer(sd_bus_message *message) {
        int authorized, challenge;
        const sd_bus_error *error = sd_bus_message_get_error(message);

        if (error) {
                log_warning("polkit did not answer: %s", error->message ? error->message : error->name);
                return POLKIT_UNAVAILABLE;
        }
        if (sd_bus_message_enter_container(message, 'r', "bba{ss}") < 0 ||
            sd_bus_message_read(message, "bb", &authorized, &challenge) < 0)
                return POLKIT_UNAVAILABLE;
        return authorized ? POLKIT_YES : challenge ? POLKIT_CHALLENGE : POLKIT_NO;
}

static int on_answer(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Question *question = userdata;
        question->answered(read_answer(message), question->userdata);
        return 0;
}

static int append_details(sd_bus_message *message, const char *const *details) {
        int r = sd_bus_message_open_container(message, 'a', "{ss}");
        for (const char *const *p = details; r >= 0 && p && p[0]; p += 2)
                r = sd_bus_message_append(message, "{ss}", p[0], p[1]);
        return r < 0 ? r : sd_bus_message_close_container(message);
}

int polkit_ask(sd_bus *bus, const PolkitQuestion *question, PolkitAnswered answered, void *userdata,
               sd_bus_slot **ret_slot) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *message = NULL;
        _cleanup_free_ Question *state = new0(Question, 1);
        if (!state)
                return -ENOMEM;
        *state = (Question){ .answered = answered, .userdata = userdata };

        int r = sd_bus_message_new_method_call(bus, &message, "org.freedesktop.PolicyKit1",
                                               "/org/freedesktop/PolicyKit1/Authority",
                                               "org.freedesktop.PolicyKit1.Authority", "CheckAuthorization");
        if (r >= 0)
                r = sd_bus_message_append(message, "(sa{sv})s", "system-bus-name", 1, "name", "s",
                                          question->sender, question->action);
        if (r >= 0)
                r = append_details(message, question->details);
        if (r >= 0)
                r = sd_bus_message_append(message, "us",
                                          question->interactive ? POLKIT_ALLOW_USER_INTERACTION : 0U, "");
        if (r < 0)
                return r;

        sd_bus_slot *slot;
        r = sd_bus_call_async(bus, &slot, message, on_answer, state,
                              question->interactive ? UINT64_MAX : POLKIT_TIMEOUT_USEC);
        if (r < 0)
                return r;
        r = sd_bus_slot_set_destroy_callback(slot, free);
        if (r < 0) {
                sd_bus_slot_unref(slot);
                return r;
        }
        (void) TAKE_PTR(state);
        *ret_slot = slot;
        return 0;
}
