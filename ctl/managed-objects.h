/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The objects below a service's root that have an interface (org.freedesktop.DBus.ObjectManager). */

#include "ctl/bus-client.h"

/* Stands at the interface's a{sv} of properties, which it reads. */
typedef int (*ManagedObjectVisit)(const char *path, sd_bus_message *message, void *userdata);

/* target: the service, its root path, and the interface that is looked for. */
int managed_objects_visit(Client *client, const BusTarget *target, ManagedObjectVisit visit, void *userdata,
                          Fault *fault);
