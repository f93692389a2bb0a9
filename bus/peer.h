/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Peers are the connections that call us: their credentials, asked once and asynchronously; what they
 * opened, which ends with them; and what their user holds, which is limited. Unique names are never used
 * again, so what is known of one stays true. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-bus.h>

#include "lib/macros.h"

typedef struct Peer Peer;
typedef struct PeerRegistry PeerRegistry;

int peer_registry_new(sd_bus *bus, PeerRegistry **ret);
PeerRegistry *peer_registry_free(PeerRegistry *registry);
DEFINE_CLEANUP(PeerRegistry *, peer_registry_free);

/* NULL if this connection is not known yet, or is gone. */
Peer *peer_registry_find(PeerRegistry *registry, const char *unique_name);

/* Learns who this is, then calls ready(); the peer is NULL if it is gone already. At most one question per
 * connection. */
typedef void (*PeerReady)(Peer *peer, void *userdata);
int peer_registry_learn(PeerRegistry *registry, const char *unique_name, PeerReady ready, void *userdata);

const char *peer_unique_name(const Peer *peer);
uid_t peer_uid(const Peer *peer);
pid_t peer_pid(const Peer *peer);
bool peer_is_root(const Peer *peer);
/* The namespace of a caller that names none. */
const char *peer_namespace(const Peer *peer);

/* Keeps a peer from being forgotten while something of it is under way: there is room for LIMIT_PEERS, and
 * the one that called least recently makes place for a new one, to be learned again when it calls again.
 * Nothing happens if it is gone. */
void peer_registry_pin(PeerRegistry *registry, const char *unique_name);
void peer_registry_unpin(PeerRegistry *registry, const char *unique_name);

/* Every known peer, until visit() returns a negative value. */
int peer_registry_visit(PeerRegistry *registry, int (*visit)(const Peer *peer, void *userdata),
                        void *userdata);

/* Calls gone() when the connection ends (client exited, or crashed). The returned watch is the caller's;
 * free it to stop. */
typedef struct PeerWatch PeerWatch;
typedef void (*PeerGone)(void *userdata);
int peer_watch_new(Peer *peer, PeerGone gone, void *userdata, PeerWatch **ret);
PeerWatch *peer_watch_free(PeerWatch *watch);
DEFINE_CLEANUP(PeerWatch *, peer_watch_free);
