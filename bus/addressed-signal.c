/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "bus/addressed-signal.h"

#include <errno.h>

#include "bus/authorize.h"

typedef struct Sending {
        sd_bus *bus;
        sd_bus_message *signal;
        const char *namespace;
} Sending;

static int send_copy(const Peer *peer, void *userdata) {
        const Sending *sending = userdata;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *copy = NULL;

        if (!bus_peer_may_see_namespace(peer, sending->namespace))
                return 0;
        int r = sd_bus_message_rewind(sending->signal, true);
        if (r >= 0)
                r = sd_bus_message_new_signal(sending->bus, &copy, sd_bus_message_get_path(sending->signal),
                                              sd_bus_message_get_interface(sending->signal),
                                              sd_bus_message_get_member(sending->signal));
        if (r >= 0)
                r = sd_bus_message_copy(copy, sending->signal, true);
        if (r >= 0)
                r = sd_bus_message_set_destination(copy, peer_unique_name(peer));
        return r < 0 ? r : sd_bus_send(sending->bus, copy, NULL);
}

int addressed_signal_send(sd_bus *bus, sd_bus_message *signal, const char *namespace) {
        Sending sending = { .bus = bus, .signal = signal, .namespace = namespace };
        PeerRegistry *peers = bus_peers(bus);

        /* Never sent itself: any cookie does. */
        int r = sd_bus_message_seal(signal, 1, 0);
        return r < 0 || !peers ? r : peer_registry_visit(peers, send_copy, &sending);
}
