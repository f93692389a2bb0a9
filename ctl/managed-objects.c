/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/managed-objects.h"

#include <errno.h>

#include "lib/strv.h"

/* One object: its path, and the interfaces that it has. */
static int visit_object(sd_bus_message *reply, const char *interface, ManagedObjectVisit visit,
                        void *userdata) {
        const char *path, *name;

        int r = sd_bus_message_read(reply, "o", &path);
        if (r >= 0)
                r = sd_bus_message_enter_container(reply, 'a', "{sa{sv}}");
        while (r >= 0 && (r = sd_bus_message_enter_container(reply, 'e', "sa{sv}")) > 0) {
                r = sd_bus_message_read(reply, "s", &name);
                if (r >= 0)
                        r = string_equal(name, interface) ? visit(path, reply, userdata)
                                                          : sd_bus_message_skip(reply, "a{sv}");
                if (r >= 0)
                        r = sd_bus_message_exit_container(reply);
        }
        return r < 0 ? r : sd_bus_message_exit_container(reply);
}

int managed_objects_visit(Client *client, const BusTarget *target, ManagedObjectVisit visit, void *userdata,
                          Fault *fault) {
        _cleanup_message_ sd_bus_message *message = NULL, *reply = NULL;
        const BusTarget manager = { target->destination, target->path,
                                    "org.freedesktop.DBus.ObjectManager" };

        int r = client_new_call(client, &manager, "GetManagedObjects", &message, fault);
        if (r >= 0)
                r = client_call(client, message, &reply, fault);
        if (r < 0)
                return r;
        r = sd_bus_message_enter_container(reply, 'a', "{oa{sa{sv}}}");
        while (r >= 0 && (r = sd_bus_message_enter_container(reply, 'e', "oa{sa{sv}}")) > 0) {
                r = visit_object(reply, target->interface, visit, userdata);
                if (r >= 0)
                        r = sd_bus_message_exit_container(reply);
        }
        return r < 0 ? fault_set_errno(fault, r, "the objects of %s", target->destination) : 0;
}
