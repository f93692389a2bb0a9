/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The client's side of the system bus: connects when the first call is made, asks for authorization
 * interactively only after a service said that this would help, and gives every error as a fault with a
 * sentence. */

#include <stdbool.h>
#include <systemd/sd-bus.h>

#include "lib/fault.h"
#include "lib/macros.h"

#define _cleanup_message_ _cleanup_(sd_bus_message_unrefp)
#define _cleanup_slot_ _cleanup_(sd_bus_slot_unrefp)

typedef struct Client {
        sd_bus *bus;
        const char *namespace; /* weak; NULL: the caller's own, which needs no option */
        bool ask_password;
        int agent_pidfd; /* pkttyagent, once it was started */
} Client;

#define CLIENT_INIT ((Client){ .agent_pidfd = -EBADF })

/* Whom a call is for. */
typedef struct BusTarget {
        const char *destination, *path, *interface;
} BusTarget;

extern const BusTarget target_images, target_tasks, target_content, target_snapshots;

int client_open(Client *client, Fault *fault);
void client_done(Client *client);

/* A method call without arguments yet. */
int client_new_call(Client *client, const BusTarget *target, const char *member, sd_bus_message **ret,
                    Fault *fault);

/* Opens the a{sv} of options, with "namespace" in it where one was given; and closes it. */
int client_open_options(Client *client, sd_bus_message *message);
int client_close_options(sd_bus_message *message);

/* Sends it and waits for the answer without a limit. The errno is that of bus/bus-error.h (-ENOENT for
 * NotFound, …). Where the service ended before it took the call, or the call only reads, it is sent again.
 */
int client_call(Client *client, sd_bus_message *message, sd_bus_message **ret_reply, Fault *fault);

/* member(argument, options) with no further options; argument may be NULL. */
int client_invoke(Client *client, const BusTarget *target, const char *member, const char *argument,
                  sd_bus_message **ret_reply, Fault *fault);

/* The a{sv} of all properties of an object. */
int client_get_properties(Client *client, const BusTarget *target, sd_bus_message **ret_reply, Fault *fault);

/* The path of the object that member(argument) gives (Get). */
int client_get_object(Client *client, const BusTarget *manager, const char *member, const char *argument,
                      char **ret_path, Fault *fault);

/* The sentence and errno of an error that came as an answer. */
int client_fault_from_error(const sd_bus_error *error, Fault *fault);

/* The namespace that calls are about. */
#define CLIENT_NAMESPACE_SIZE 80
const char *client_namespace(const Client *client, char buffer[CLIENT_NAMESPACE_SIZE]);

/* Fields of interest of an a{sv}; others are passed over. By signature: "s" and "o" const char * (borrowed),
 * "b" bool, "u" uint32_t, "i" int32_t, "t" uint64_t, "as" char ** (owned); others by a reader, which stands
 * inside the variant. */
typedef struct BusField {
        const char *key, *signature;
        size_t offset;
        int (*reader)(sd_bus_message *message, void *field);
} BusField;

/* Reads the a{sv} at which the message stands. The table ends with a row without key. */
int bus_fields_read(sd_bus_message *message, const BusField *fields, void *target);
/* Frees what is owned. */
void bus_fields_done(const BusField *fields, void *target);

/* A method of the kind of List, which answers (aa{sv}, s), called page by page; on_item() is called at each
 * a{sv}, which it reads. */
typedef struct ClientList {
        const BusTarget *target;
        const char *member;   /* NULL: "List" */
        char *const *filters; /* NULL: none */
        int (*on_item)(sd_bus_message *message, void *userdata);
        void *userdata;
} ClientList;

int client_list(Client *client, const ClientList *list, Fault *fault);
