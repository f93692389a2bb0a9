/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/bus-client.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bus/bus-error.h"
#include "bus/bus-names.h"
#include "bus/call-copy.h"
#include "bus/options.h"
#include "ctl/ask-agent.h"
#include "lib/identifier.h"
#include "lib/process.h"
#include "lib/strv.h"

#define REPEAT_MAX 3U
#define REPEAT_PAUSE_NSEC 100000000L

const BusTarget target_images = { CRT_IMAGES_NAME, CRT_IMAGES_PATH, CRT_IMAGES_INTERFACE };
const BusTarget target_tasks = { CRT_TASKS_NAME, CRT_TASKS_PATH, CRT_TASKS_INTERFACE };
const BusTarget target_content = { CRT_CONTENT_NAME, CRT_CONTENT_PATH, CRT_CONTENT_INTERFACE };
const BusTarget target_snapshots = { CRT_SNAPSHOTS_NAME, CRT_SNAPSHOTS_PATH, CRT_SNAPSHOTS_INTERFACE };

int client_open(Client *client, Fault *fault) {
        if (client->bus)
                return 0;
        int r = sd_bus_open_system(&client->bus);
        if (r < 0)
                return fault_set_errno(fault, r, "cannot connect to the system bus");
        /* The end of an event loop is not the end of us: a pull may be followed by a run. */
        (void) sd_bus_set_close_on_exit(client->bus, false);
        return 0;
}

void client_done(Client *client) {
        client->bus = sd_bus_flush_close_unref(client->bus);
        ask_agent_stop(&client->agent_pidfd);
}

int client_new_call(Client *client, const BusTarget *target, const char *member, sd_bus_message **ret,
                    Fault *fault) {
        int r = client_open(client, fault);
        if (r < 0)
                return r;
        r = sd_bus_message_new_method_call(client->bus, ret, target->destination, target->path,
                                           target->interface, member);
        return r < 0 ? fault_set_errno(fault, r, "cannot make a call") : 0;
}

int client_open_options(Client *client, sd_bus_message *message) {
        int r = sd_bus_message_open_container(message, 'a', "{sv}");
        if (r >= 0 && client->namespace)
                r = bus_append_entry(message, "namespace", "s", client->namespace);
        return r;
}

int client_close_options(sd_bus_message *message) {
        return sd_bus_message_close_container(message);
}

/* What the bus and sd-bus say themselves is about the bus: say what it means here. */
int client_fault_from_error(const sd_bus_error *error, Fault *fault) {
        if (sd_bus_error_has_name(error, SD_BUS_ERROR_SERVICE_UNKNOWN) ||
            sd_bus_error_has_name(error, SD_BUS_ERROR_NAME_HAS_NO_OWNER))
                return fault_set(fault, -EHOSTUNREACH,
                                 "the service is not on the system bus (is crt installed?): %s",
                                 error->message);
        if (sd_bus_error_has_name(error, SD_BUS_ERROR_UNKNOWN_OBJECT))
                return fault_set(fault, -ENOENT, "there is nothing of this name (any more)");
        if (sd_bus_error_has_name(error, SD_BUS_ERROR_NO_REPLY))
                return fault_set(fault, -EHOSTUNREACH, "the service ended before it answered");

        int r = bus_error_to_fault(error, fault);
        if (r == -EACCES && fault && !fault->text)
                return r;
        if (r == -EACCES)
                fault_prefix(fault, r, "Access denied");
        return r;
}

static int send_copy(Client *client, sd_bus_message *message, bool interactive, sd_bus_error *error,
                     sd_bus_message **ret_reply) {
        _cleanup_message_ sd_bus_message *copy = NULL;

        int r = call_copy(message, &copy);
        if (r >= 0)
                r = sd_bus_message_set_allow_interactive_authorization(copy, interactive);
        if (r < 0)
                return r;
        sd_bus_error_free(error);
        *error = SD_BUS_ERROR_NULL;
        return sd_bus_call(client->bus, copy, UINT64_MAX, error, ret_reply);
}

static bool only_reads(sd_bus_message *message) {
        const char *member = sd_bus_message_get_member(message);
        return string_equal(member, "Get") || string_equal(member, "GetAll") || string_equal(member, "List");
}

/* That it did not come to the service, which was just ending; or that it did, and nothing depends on it. */
static bool may_be_repeated(sd_bus_message *message, const sd_bus_error *error) {
        return sd_bus_error_has_name(error, SD_BUS_ERROR_SERVICE_UNKNOWN) ||
               sd_bus_error_has_name(error, SD_BUS_ERROR_NAME_HAS_NO_OWNER) ||
               (sd_bus_error_has_name(error, SD_BUS_ERROR_NO_REPLY) && only_reads(message));
}

int client_call(Client *client, sd_bus_message *message, sd_bus_message **ret_reply, Fault *fault) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        const struct timespec pause = { .tv_nsec = REPEAT_PAUSE_NSEC };
        bool interactive = false;

        int r = sd_bus_call(client->bus, message, UINT64_MAX, &error, ret_reply);
        if (r < 0 && client->ask_password &&
            sd_bus_error_has_name(&error, SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED)) {
                ask_agent_start(&client->agent_pidfd);
                interactive = true;
                r = send_copy(client, message, interactive, &error, ret_reply);
        }
        for (unsigned i = 0; r < 0 && i < REPEAT_MAX && may_be_repeated(message, &error); i++) {
                (void) nanosleep(&pause, NULL);
                r = send_copy(client, message, interactive, &error, ret_reply);
        }
        if (r >= 0)
                return 0;
        if (!sd_bus_error_is_set(&error))
                return fault_set_errno(fault, r, "the system bus");
        return client_fault_from_error(&error, fault);
}

int client_invoke(Client *client, const BusTarget *target, const char *member, const char *argument,
                  sd_bus_message **ret_reply, Fault *fault) {
        _cleanup_message_ sd_bus_message *message = NULL;

        int r = client_new_call(client, target, member, &message, fault);
        if (r < 0)
                return r;
        if (argument)
                r = sd_bus_message_append(message, "s", argument);
        if (r >= 0)
                r = client_open_options(client, message);
        if (r >= 0)
                r = client_close_options(message);
        if (r < 0)
                return fault_set_errno(fault, r, "'%s' cannot be sent", argument);
        return client_call(client, message, ret_reply, fault);
}

int client_get_properties(Client *client, const BusTarget *target, sd_bus_message **ret_reply,
                          Fault *fault) {
        _cleanup_message_ sd_bus_message *message = NULL;
        const BusTarget properties = { target->destination, target->path,
                                       "org.freedesktop.DBus.Properties" };

        int r = client_new_call(client, &properties, "GetAll", &message, fault);
        if (r >= 0)
                r = sd_bus_message_append(message, "s", target->interface);
        return r < 0 ? r : client_call(client, message, ret_reply, fault);
}

int client_get_object(Client *client, const BusTarget *manager, const char *member, const char *argument,
                      char **ret_path, Fault *fault) {
        _cleanup_message_ sd_bus_message *reply = NULL;
        const char *path;

        int r = client_invoke(client, manager, member, argument, &reply, fault);
        if (r < 0)
                return r;
        r = sd_bus_message_read(reply, "o", &path);
        if (r < 0)
                return fault_set_errno(fault, r, "the answer of %s", manager->destination);
        *ret_path = strdup(path);
        return *ret_path ? 0 : -ENOMEM;
}

const char *client_namespace(const Client *client, char buffer[CLIENT_NAMESPACE_SIZE]) {
        if (!client->namespace)
                return namespace_of_uid(getuid(), buffer);
        snprintf(buffer, CLIENT_NAMESPACE_SIZE, "%s", client->namespace);
        return buffer;
}

static int read_field(sd_bus_message *message, const BusField *field, void *target) {
        void *place = (char *) target + field->offset;
        if (field->reader)
                return field->reader(message, place);
        if (string_equal(field->signature, "as")) {
                char ***strv = place;
                *strv = strv_free(*strv);
                return sd_bus_message_read_strv(message, strv);
        }
        if (string_equal(field->signature, "b")) {
                int value;
                int r = sd_bus_message_read_basic(message, 'b', &value);
                if (r >= 0)
                        *(bool *) place = value;
                return r;
        }
        return sd_bus_message_read_basic(message, field->signature[0], place);
}

static const BusField *field_find(const BusField *fields, const char *key, const char *signature) {
        for (; fields->key; fields++)
                if (string_equal(fields->key, key) && string_equal(fields->signature, signature))
                        return fields;
        return NULL;
}

int bus_fields_read(sd_bus_message *message, const BusField *fields, void *target) {
        int r = sd_bus_message_enter_container(message, 'a', "{sv}");
        while (r >= 0 && (r = sd_bus_message_enter_container(message, 'e', "sv")) > 0) {
                const char *key, *contents;
                r = sd_bus_message_read(message, "s", &key);
                if (r >= 0)
                        r = sd_bus_message_peek_type(message, NULL, &contents);
                if (r < 0)
                        return r;
                const BusField *field = field_find(fields, key, contents);
                if (!field)
                        r = sd_bus_message_skip(message, "v");
                else {
                        r = sd_bus_message_enter_container(message, 'v', contents);
                        if (r >= 0)
                                r = read_field(message, field, target);
                        if (r >= 0)
                                r = sd_bus_message_exit_container(message);
                }
                if (r >= 0)
                        r = sd_bus_message_exit_container(message);
        }
        if (r >= 0)
                r = sd_bus_message_exit_container(message);
        return r < 0 ? r : 0;
}

void bus_fields_done(const BusField *fields, void *target) {
        for (; fields->key; fields++)
                if (string_equal(fields->signature, "as") && !fields->reader) {
                        char ***strv = (void *) ((char *) target + fields->offset);
                        *strv = strv_free(*strv);
                }
}

/* One page; *next is where the following one begins. */
static int list_page(Client *client, const ClientList *list, char **next, Fault *fault) {
        _cleanup_message_ sd_bus_message *message = NULL, *reply = NULL;

        int r = client_new_call(client, list->target, list->member ? list->member : "List", &message, fault);
        if (r >= 0)
                r = client_open_options(client, message);
        if (r >= 0 && *next)
                r = bus_append_entry(message, "after", "s", *next);
        if (r >= 0 && list->filters)
                r = bus_append_entry(message, "filters", "as", list->filters);
        if (r >= 0)
                r = client_close_options(message);
        if (r >= 0)
                r = client_call(client, message, &reply, fault);
        if (r < 0)
                return r;

        const char *after = "";
        r = sd_bus_message_enter_container(reply, 'a', "a{sv}");
        while (r >= 0 && (r = sd_bus_message_at_end(reply, 0)) == 0) {
                r = list->on_item(reply, list->userdata);
                if (r < 0)
                        break;
        }
        if (r >= 0)
                r = sd_bus_message_exit_container(reply);
        if (r >= 0)
                r = sd_bus_message_read(reply, "s", &after);
        if (r < 0)
                return fault_set_errno(fault, r, "the list of %s", list->target->destination);
        *next = mfree(*next);
        if (after[0] && !(*next = strdup(after)))
                return -ENOMEM;
        return 0;
}

int client_list(Client *client, const ClientList *list, Fault *fault) {
        _cleanup_free_ char *next = NULL;
        int r;
        do
                r = list_page(client, list, &next, fault);
        while (r >= 0 && next);
        return r;
}
