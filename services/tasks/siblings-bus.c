/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/tasks/siblings-bus.h"

#include <errno.h>
#include <string.h>

#include "bus/bus-error.h"
#include "bus/bus-names.h"
#include "bus/call-copy.h"
#include "lib/fd.h"
#include "lib/strv.h"

#define TIMEOUT (90 * UINT64_C(1000000))
#define TRIES_MAX 3U
#define PAUSE (100 * UINT64_C(1000))

int sibling_call_new(Siblings *siblings, const SiblingReceiver *receiver, SiblingCall **ret) {
        SiblingCall *call = new0(SiblingCall, 1);
        if (!call)
                return -ENOMEM;
        *call = (SiblingCall){ .next = siblings->calls, .siblings = siblings, .receiver = *receiver };
        siblings->calls = call;
        *ret = call;
        return 0;
}

SiblingCall *sibling_call_free(SiblingCall *call) {
        if (!call)
                return NULL;
        if (call->siblings) {
                SiblingCall **place = &call->siblings->calls;
                while (*place && *place != call)
                        place = &(*place)->next;
                if (*place)
                        *place = call->next;
        }
        sd_bus_slot_unref(call->slot);
        sd_bus_message_unref(call->message);
        sd_event_source_disable_unref(call->timer);
        free(call);
        return NULL;
}

void sibling_call_answer(SiblingCall *call, int r, SiblingAnswer *answer, const Fault *fault) {
        if (call->answered)
                return;
        call->answered = true;
        call->receiver.reply(r, answer, fault, call->receiver.userdata);
}

static void resolved_image_done(ResolvedImage *image) {
        free(image->name);
        free(image->digest);
        free(image->chain_id);
        free(image->user);
        free(image->working_directory);
        free(image->stop_signal);
        strv_free(image->environment);
        strv_free(image->entrypoint);
        strv_free(image->command);
}

static int on_answer(sd_bus_message *message, void *userdata, sd_bus_error *error);

static int send_message(SiblingCall *call, sd_bus_message *message) {
        int r = sd_event_now(sd_bus_get_event(call->siblings->bus), CLOCK_MONOTONIC, &call->sent);
        if (r < 0)
                return r;
        call->slot = sd_bus_slot_unref(call->slot);
        return sd_bus_call_async(call->siblings->bus, &call->slot, message, on_answer, call, TIMEOUT);
}

/* It ended before it answered, or was ending when the call came. */
static bool is_lost(const SiblingCall *call, const sd_bus_error *error) {
        uint64_t now;
        if (sd_bus_error_has_name(error, SD_BUS_ERROR_SERVICE_UNKNOWN) ||
            sd_bus_error_has_name(error, SD_BUS_ERROR_NAME_HAS_NO_OWNER))
                return true;
        return sd_bus_error_has_name(error, SD_BUS_ERROR_NO_REPLY) &&
               sd_event_now(sd_bus_get_event(call->siblings->bus), CLOCK_MONOTONIC, &now) >= 0 &&
               now < call->sent + TIMEOUT; /* sd-bus answers so, too, when the time is up */
}

static int on_pause_over(sd_event_source *source, uint64_t usec, void *userdata) {
        SiblingCall *call = userdata;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *copy = NULL;
        call->timer = sd_event_source_disable_unref(call->timer);
        int r = call_copy(call->message, &copy);
        if (r >= 0)
                r = send_message(call, copy);
        if (r < 0)
                sibling_call_answer(call, r, NULL, NULL);
        return 0;
}

/* systemd may need a moment to see that the last run has ended; until then the bus has an error for us. */
static bool repeat(SiblingCall *call) {
        return call->message && call->tries < TRIES_MAX && ++call->tries > 0 &&
               sd_event_add_time_relative(sd_bus_get_event(call->siblings->bus), &call->timer,
                                          CLOCK_MONOTONIC, PAUSE, 0, on_pause_over, call) >= 0;
}

static int on_answer(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        SiblingCall *call = userdata;
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        SiblingAnswer answer = { .mount = -EBADF };

        if (is_lost(call, sd_bus_message_get_error(message)) && repeat(call))
                return 0;
        int r = bus_error_to_fault(sd_bus_message_get_error(message), &fault);
        if (r >= 0 && call->read) {
                r = call->read(message, &answer);
                if (r < 0)
                        fault_set(&fault, r, "%s gave an answer that cannot be read",
                                  sd_bus_message_get_sender(message));
        }
        sibling_call_answer(call, MIN_OF(r, 0), &answer, &fault);
        resolved_image_done(&answer.image);
        fd_close(answer.mount);
        return 0;
}

static int add_namespace(sd_bus_message *message, const char *namespace) {
        return sd_bus_message_append(message, "{sv}", "namespace", "s", namespace);
}

static int begin(Siblings *siblings, const char *name, const char *path, const char *interface,
                 const char *member, sd_bus_message **ret) {
        return sd_bus_message_new_method_call(siblings->bus, ret, name, path, interface, member);
}

static int send_call(Siblings *siblings, sd_bus_message *message, const SiblingReceiver *receiver,
                     int (*read)(sd_bus_message *message, SiblingAnswer *answer), SiblingCall **ret) {
        _cleanup_(sibling_call_freep) SiblingCall *call = NULL;
        int r = sibling_call_new(siblings, receiver, &call);
        if (r < 0)
                return r;
        call->read = read;
        call->message = sd_bus_message_ref(message);
        r = send_message(call, message);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(call);
        return 0;
}

static int read_string(sd_bus_message *message, char **ret) {
        const char *value;
        int r = sd_bus_message_read(message, "v", "s", &value);
        if (r < 0)
                return r;
        free(*ret);
        *ret = strdup(value);
        return *ret ? 0 : -ENOMEM;
}

static int read_strings(sd_bus_message *message, char ***ret) {
        int r = sd_bus_message_enter_container(message, 'v', "as");
        if (r < 0)
                return r;
        *ret = strv_free(*ret);
        r = sd_bus_message_read_strv(message, ret);
        return r < 0 ? r : sd_bus_message_exit_container(message);
}

static int read_image_entry(sd_bus_message *message, ResolvedImage *image) {
        const struct {
                const char *key;
                char **string;
                char ***strings;
        } fields[] = {
                { "name", &image->name, NULL },
                { "digest", &image->digest, NULL },
                { "chain-id", &image->chain_id, NULL },
                { "user", &image->user, NULL },
                { "working-dir", &image->working_directory, NULL },
                { "stop-signal", &image->stop_signal, NULL },
                { "env", NULL, &image->environment },
                { "entrypoint", NULL, &image->entrypoint },
                { "cmd", NULL, &image->command },
        };
        const char *key;
        int r = sd_bus_message_read(message, "s", &key);
        if (r < 0)
                return r;
        for (size_t i = 0; i < ELEMENTS_OF(fields); i++)
                if (string_equal(fields[i].key, key))
                        return fields[i].string ? read_string(message, fields[i].string)
                                                : read_strings(message, fields[i].strings);
        return sd_bus_message_skip(message, "v");
}

static int read_image(sd_bus_message *message, SiblingAnswer *answer) {
        int r = sd_bus_message_enter_container(message, 'a', "{sv}");
        while (r >= 0 && (r = sd_bus_message_enter_container(message, 'e', "sv")) > 0) {
                r = read_image_entry(message, &answer->image);
                if (r >= 0)
                        r = sd_bus_message_exit_container(message);
        }
        if (r < 0)
                return r;
        const ResolvedImage *image = &answer->image;
        return image->name && image->digest && image->chain_id ? 0 : -EBADMSG;
}

int siblings_resolve(Siblings *siblings, const char *namespace, const char *image,
                     const SiblingReceiver *receiver, SiblingCall **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *message = NULL;
        int r = begin(siblings, CRT_IMAGES_NAME, CRT_IMAGES_PATH, CRT_IMAGES_INTERFACE, "Resolve", &message);
        if (r >= 0)
                r = sd_bus_message_append(message, "sa{sv}", image, 1, "namespace", "s", namespace);
        return r < 0 ? r : send_call(siblings, message, receiver, read_image, ret);
}

static int snapshots_call(Siblings *siblings, const char *member, sd_bus_message **ret) {
        return begin(siblings, CRT_SNAPSHOTS_NAME, CRT_SNAPSHOTS_PATH, CRT_SNAPSHOTS_INTERFACE, member, ret);
}

int siblings_prepare(Siblings *siblings, const SiblingTree *tree, const SiblingReceiver *receiver,
                     SiblingCall **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *message = NULL;
        int r = snapshots_call(siblings, "Prepare", &message);
        if (r >= 0)
                r = sd_bus_message_append(message, "ss", tree->key, tree->parent);
        if (r >= 0)
                r = sd_bus_message_open_container(message, 'a', "{sv}");
        if (r >= 0)
                r = add_namespace(message, tree->namespace);
        if (r >= 0 && tree->size_max > 0)
                r = sd_bus_message_append(message, "{sv}", "size-max", "t", tree->size_max);
        if (r >= 0)
                r = sd_bus_message_close_container(message);
        return r < 0 ? r : send_call(siblings, message, receiver, NULL, ret);
}

int siblings_remove(Siblings *siblings, const char *namespace, const char *key,
                    const SiblingReceiver *receiver, SiblingCall **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *message = NULL;
        int r = snapshots_call(siblings, "Remove", &message);
        if (r >= 0)
                r = sd_bus_message_append(message, "sa{sv}", key, 1, "namespace", "s", namespace);
        return r < 0 ? r : send_call(siblings, message, receiver, NULL, ret);
}

static int read_mount(sd_bus_message *message, SiblingAnswer *answer) {
        int fd;
        int r = sd_bus_message_read(message, "h", &fd);
        if (r < 0)
                return r;
        answer->mount = fd_duplicate(fd);
        return MIN_OF(answer->mount, 0);
}

int siblings_mount(Siblings *siblings, const char *namespace, const char *key, bool is_volatile,
                   const SiblingReceiver *receiver, SiblingCall **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *message = NULL;
        int r = snapshots_call(siblings, "Mount", &message);
        if (r >= 0)
                r = sd_bus_message_append(message, "s", key);
        if (r >= 0)
                r = sd_bus_message_open_container(message, 'a', "{sv}");
        if (r >= 0)
                r = add_namespace(message, namespace);
        if (r >= 0)
                r = sd_bus_message_append(message, "{sv}", "volatile", "b", (int) is_volatile);
        if (r >= 0)
                r = sd_bus_message_close_container(message);
        return r < 0 ? r : send_call(siblings, message, receiver, read_mount, ret);
}

int siblings_new(sd_bus *bus, Siblings **ret) {
        _cleanup_(siblings_freep) Siblings *siblings = new0(Siblings, 1);
        if (!siblings)
                return -ENOMEM;
        siblings->bus = sd_bus_ref(bus);
        int r = siblings_watch_jobs(siblings);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(siblings);
        return 0;
}

Siblings *siblings_free(Siblings *siblings) {
        if (!siblings)
                return NULL;
        for (SiblingCall *call = siblings->calls; call; call = call->next) {
                call->slot = sd_bus_slot_unref(call->slot);
                call->siblings = NULL;
        }
        sd_bus_slot_unref(siblings->jobs);
        sd_bus_unref(siblings->bus);
        free(siblings);
        return NULL;
}
