/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Authorization: one default-deny table for each service, applied to every method call before any handler
 * runs.
 *
 * A call is held back until it is known who sent it (bus/peer.h, asked once per connection, asynchronously)
 * and, where the rule says so, until polkit has answered; then it is put back into the queue and dispatched.
 * Nothing blocks meanwhile. A call for which the table has no rule is refused, so a method that somebody
 * adds without one cannot be called by anyone, root included.
 *
 * polkit sees these details: "namespace", "verb" (the member's name), "object" (of an object's path), the
 * rule's own names for the first string argument ("image", "digest", "reference", "snapshot", "container")
 * and for the second ("source"), and the option that the rule names. */

#include <stdbool.h>
#include <systemd/sd-bus.h>

#include "bus/peer.h"

typedef enum BusAccess {
        BUS_ANYONE,   /* who can reach the bus; what the handler shows must depend on the caller */
        BUS_POLKIT,   /* root and the named siblings: yes; others: as polkit says about the action */
        BUS_SIBLINGS, /* root and the named siblings only */
} BusAccess;

typedef enum BusSibling {
        BUS_SIBLING_NONE = 0,
        BUS_SIBLING_IMAGES = 1 << 0,
        BUS_SIBLING_CONTENT = 1 << 1,
} BusSibling;

typedef struct BusRule {
        const char *interface;
        const char *member;
        BusAccess access;
        const char *action;   /* polkit action id for BUS_POLKIT */
        const char *argument; /* name of the detail that shows the first argument, if that is a string; or
                                 NULL */
        BusSibling siblings;  /* siblings that may call this member; none unless listed */
        const char *option;   /* a string option that is shown as a detail of the same name; or NULL */
        const char *second;   /* as argument, of the second one */
        bool owner;           /* who began the object passes without being asked about */
} BusRule;

/* Rules that every service needs: reading properties, introspection, the object tree. Properties.Set is not
 * among them: list it in the service's table if a property can be set. These let anyone call; what they show
 * depends on the caller. */

typedef struct Authorizer Authorizer;

/* Installs itself as a filter on the connection. */
int authorizer_new(sd_bus *bus, PeerRegistry *peers, const BusRule *rules, size_t rule_count,
                   Authorizer **ret);
/* The root of the service's objects; and what is called for every method call that arrives. */
void authorizer_configure(Authorizer *authorizer, const char *root_path, void (*on_call)(void *userdata),
                          void *userdata);
Authorizer *authorizer_free(Authorizer *authorizer);
DEFINE_CLEANUP(Authorizer *, authorizer_free);

/* Who began an object: 1 and the user, or 0 if that is not known. For rules with `owner`. */
typedef int (*AuthorizerOwnerOf)(void *userdata, const char *namespace, const char *object, uid_t *ret);
void authorizer_set_owner_of(Authorizer *authorizer, AuthorizerOwnerOf owner_of, void *userdata);

/* Calls that wait for an answer of the bus or of polkit. */
bool authorizer_is_busy(const Authorizer *authorizer);

/* Within a filter that sees messages before this one: 1 if it may pass, and is on its way to its handler.
 * The filter keeps it then, and puts it back into the queue later; until its handler has it, it counts
 * against its user's quota. 0 if it has to go on now; -EDQUOT, -ENOMEM if it has been refused. */
int bus_call_begin_waiting(sd_bus *bus, sd_bus_message *message);

/* Within a handler, a getter or an enumerator: who sent the message that is being dispatched. Never NULL in
 * a handler. */
Peer *bus_current_peer(sd_bus *bus);

/* Within a handler: the namespace that this call is about, already authorized: the object's, the option's or
 * the caller's own. Valid until the handler returns. */
const char *bus_call_namespace(sd_bus_message *message);

/* The peers of the service that this connection serves; NULL where nothing is authorized. */
PeerRegistry *bus_peers(sd_bus *bus);
/* Its own namespace: yes; others: root and siblings. Not who was authorized for a call about another one:
 * that holds for the call, and whom a rule lets do one thing there may not look at everything for ever. */
bool bus_peer_may_see_namespace(const Peer *peer, const char *namespace);

/* May the peer of the current call see things of that namespace? Its own and the one that the call was
 * authorized for: yes; others: root and siblings. Outside a call (signals): yes. */
bool bus_may_see_namespace(sd_bus *bus, const char *namespace);
