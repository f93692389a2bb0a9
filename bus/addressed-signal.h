/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Signals that are addressed instead of broadcast: everybody on the bus may listen to a broadcast, but not
 * everybody may see every namespace. They go to each connection that has called this service and may see the
 * namespace; whoever wants signals calls GetManagedObjects first, and again when the name has a new owner
 * (as GDBusObjectManagerClient does). */

#include <systemd/sd-bus.h>

/* Seals the signal, and sends a copy of it to each of them. */
int addressed_signal_send(sd_bus *bus, sd_bus_message *signal, const char *namespace);
