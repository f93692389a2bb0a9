/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "bus/sender-user.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "lib/strv.h"

/* The bus answers in a fraction of it. Whoever waits would ask again and again. */
#define PATIENCE_MSEC 1

struct SenderUser {
        sd_event *event;
        sd_bus *bus;
        sd_bus_slot *question;
        char *name; /* of whom it was asked last */
        int result; /* -EAGAIN until there is an answer */
        uid_t uid;
};

int sender_user_new(sd_event *event, SenderUser **ret) {
        SenderUser *user = new0(SenderUser, 1);
        if (!user)
                return -ENOMEM;
        user->event = sd_event_ref(event);
        *ret = user;
        return 0;
}

static void forget(SenderUser *user) {
        user->question = sd_bus_slot_unref(user->question);
        user->name = mfree(user->name);
}

static void disconnect(SenderUser *user) {
        forget(user);
        user->bus = sd_bus_close_unref(user->bus);
}

SenderUser *sender_user_free(SenderUser *user) {
        if (!user)
                return NULL;
        disconnect(user);
        sd_event_unref(user->event);
        free(user);
        return NULL;
}

static int on_user(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        SenderUser *user = userdata;
        uint32_t uid = 0;
        int r = sd_bus_message_is_method_error(message, NULL) ? -ENXIO
                                                              : sd_bus_message_read(message, "u", &uid);
        user->result = r < 0 ? -ENXIO : 0;
        user->uid = uid;
        return 0;
}

/* Its answers come before what waits for them. */
static int connect_again(SenderUser *user) {
        if (user->bus && sd_bus_is_open(user->bus) > 0)
                return 0;
        disconnect(user);
        int r = sd_bus_open_system(&user->bus);
        return r < 0 ? r : sd_bus_attach_event(user->bus, user->event, SD_EVENT_PRIORITY_IMPORTANT);
}

static int ask(SenderUser *user, const char *unique_name) {
        forget(user);
        int r = connect_again(user);
        if (r < 0)
                return r;
        user->name = strdup(unique_name);
        if (!user->name)
                return -ENOMEM;
        user->result = -EAGAIN;
        r = sd_bus_call_method_async(user->bus, &user->question, "org.freedesktop.DBus",
                                     "/org/freedesktop/DBus", "org.freedesktop.DBus",
                                     "GetConnectionUnixUser", on_user, user, "s", unique_name);
        if (r < 0)
                forget(user);
        return r;
}

int sender_user_find(SenderUser *user, const char *unique_name, uid_t *ret) {
        if (!string_equal(user->name, unique_name)) {
                int r = ask(user, unique_name);
                return r < 0 ? r : -EAGAIN;
        }
        if (user->result == -EAGAIN) {
                struct pollfd answer = { .fd = sd_bus_get_fd(user->bus), .events = POLLIN };
                (void) poll(&answer, 1, PATIENCE_MSEC);
        }
        if (user->result >= 0)
                *ret = user->uid;
        return user->result;
}
