/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/content/lease-owners-bus.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <systemd/sd-event.h>

#include "bus/authorize.h"
#include "bus/peer.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/strv.h"
#include "services/content/lease-process.h"
#include "services/content/lease-unit-bus.h"

/* The owner of one lease:
 *
 *   caller   the bus is the one that gave the unique name, and still knows it; then a PeerWatch
 *   unit     systemd has it active, with the same invocation; asked again whenever the unit changes
 *   process  a pidfd of the same process can be had, and becomes readable when it ends
 */
typedef struct Owner {
        struct Owner *next;
        LeaseOwners *owners; /* weak; NULL: forgotten while the peer is asked about */
        int64_t number;
        LeaseBinding binding;
        char *name;
        char *proof;
        bool found;
        bool ended;    /* and its lease could not be removed yet */
        bool learning; /* on_peer() will be called */
        PeerWatch *peer;
        UnitQuestion *question;
        bool ask_again;
        sd_event_source *process;
} Owner;

typedef struct Settler {
        struct Settler *next;
        void (*settled)(void *userdata);
        void *userdata;
} Settler;

struct LeaseOwners {
        sd_bus *bus;
        LeaseOwnersSpec spec;
        Owner *list;
        Settler *settlers;
        char *bus_id; /* NULL: not known yet */
        sd_bus_slot *bus_id_slot;
        sd_bus_slot *unit_match;
        sd_event_source *patience;
        bool loaded; /* all that were recorded are in the list */
};

static void owner_release(Owner *owner) {
        owner->peer = peer_watch_free(owner->peer);
        owner->question = unit_question_free(owner->question);
        owner->process = sd_event_source_disable_unref(owner->process);
        owner->owners = NULL;
        if (owner->learning)
                return; /* on_peer() frees it */
        free(owner->name);
        free(owner->proof);
        free(owner);
}

bool lease_owners_are_looked_for(const LeaseOwners *owners) {
        if (!owners->loaded)
                return true;
        for (const Owner *owner = owners->list; owner; owner = owner->next)
                if (!owner->found)
                        return true;
        return false;
}

static void settle(LeaseOwners *owners) {
        if (lease_owners_are_looked_for(owners))
                return;
        Settler *settler = TAKE_PTR(owners->settlers);
        while (settler) {
                Settler *next = settler->next;
                settler->settled(settler->userdata);
                free(settler);
                settler = next;
        }
}

static void owner_found(Owner *owner) {
        if (owner->found)
                return;
        owner->found = true;
        settle(owner->owners);
}

static void owner_take_out(Owner *owner) {
        Owner **place = &owner->owners->list;
        while (*place && *place != owner)
                place = &(*place)->next;
        if (*place)
                *place = owner->next;
}

static int on_patience(sd_event_source *source, uint64_t usec, void *userdata);

/* Some lease could not be removed: those of all that have ended are tried again together. */
static void owners_wait(LeaseOwners *owners) {
        if (owners->patience)
                return;
        int r = sd_event_add_time_relative(sd_bus_get_event(owners->bus), &owners->patience, CLOCK_MONOTONIC,
                                           LEASE_PATIENCE_USEC, 0, on_patience, owners);
        if (r < 0)
                log_warning("leases whose owners have ended stay until the next start: %s", strerror(-r));
}

/* It is in the list until its lease is no more, and nothing else is watched for it any longer. */
static void owner_ended(Owner *owner) {
        LeaseOwners *owners = owner->owners;
        owner->ended = owner->found = true;
        owner->peer = peer_watch_free(owner->peer);
        owner->question = unit_question_free(owner->question);
        owner->process = sd_event_source_disable_unref(owner->process);
        if (owners->spec.ended(owner->number, owners->spec.userdata) < 0)
                owners_wait(owners);
        else {
                owner_take_out(owner);
                owner_release(owner);
        }
        settle(owners);
}

void lease_owners_try_again(LeaseOwners *owners) {
        if (!owners->patience)
                return;
        owners->patience = sd_event_source_disable_unref(owners->patience);
        for (Owner *owner = owners->list, *next; owner; owner = next) {
                next = owner->next;
                if (owner->ended)
                        owner_ended(owner);
        }
}

static int on_patience(sd_event_source *source, uint64_t usec, void *userdata) {
        lease_owners_try_again(userdata);
        return 0;
}

/* ---- connections ---- */

static void on_peer_gone(void *userdata) {
        owner_ended(userdata);
}

static void on_peer(Peer *peer, void *userdata) {
        Owner *owner = userdata;
        owner->learning = false;
        if (!owner->owners) {
                owner_release(owner);
                return;
        }
        if (!peer) {
                owner_ended(owner);
                return;
        }
        int r = peer_watch_new(peer, on_peer_gone, owner, &owner->peer);
        if (r < 0)
                log_warning("the owner of a lease can't be watched: %s", strerror(-r));
        owner_found(owner);
}

static int look_for_caller(Owner *owner) {
        LeaseOwners *owners = owner->owners;
        if (!string_equal(owner->proof, owners->bus_id))
                return -ESRCH;
        owner->learning = true;
        int r = peer_registry_learn(bus_peers(owners->bus), owner->name, on_peer, owner);
        if (r < 0)
                owner->learning = false;
        return r;
}

/* ---- units ---- */

static int owner_ask_unit(Owner *owner);

static void on_unit(int r, const char *invocation, const Fault *fault, void *userdata) {
        Owner *owner = userdata;
        owner->question = unit_question_free(owner->question);
        if (r == -ENOENT || r == -EBUSY || (r >= 0 && !string_equal(invocation, owner->proof))) {
                owner_ended(owner);
                return;
        }
        if (r < 0)
                log_warning("a lease stays, as %s", fault_text(fault, r));
        if (owner->ask_again) {
                owner->ask_again = false;
                (void) owner_ask_unit(owner);
        }
        owner_found(owner);
}

static int owner_ask_unit(Owner *owner) {
        return unit_question_new(owner->owners->bus, owner->name, on_unit, owner, &owner->question);
}

static int on_unit_changed(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        LeaseOwners *owners = userdata;
        _cleanup_free_ char *unit = NULL;
        if (sd_bus_path_decode(sd_bus_message_get_path(message), "/org/freedesktop/systemd1/unit", &unit) <=
            0)
                return 0;
        for (Owner *owner = owners->list; owner; owner = owner->next) {
                if (owner->binding != LEASE_BOUND_UNIT || owner->ended || !string_equal(owner->name, unit))
                        continue;
                if (owner->question)
                        owner->ask_again = true;
                else
                        (void) owner_ask_unit(owner);
        }
        return 0;
}

/* One match for all of them, when there is the first: the bus limits how many a connection may have. What
 * changes between this and the question is seen, as both go the same way. */
static int watch_units(LeaseOwners *owners) {
        if (owners->unit_match)
                return 0;
        int r = sd_bus_add_match_async(owners->bus, &owners->unit_match,
                                       "type='signal',sender='org.freedesktop.systemd1',"
                                       "interface='org.freedesktop.DBus.Properties',"
                                       "member='PropertiesChanged',"
                                       "path_namespace='/org/freedesktop/systemd1/unit',"
                                       "arg0='org.freedesktop.systemd1.Unit'",
                                       on_unit_changed, NULL, owners);
        if (r < 0)
                return r;
        /* systemd sends these signals only if somebody wants them. No answer is needed: if it is an error,
         * the owners are looked for again when the service starts again. */
        return sd_bus_call_method_async(owners->bus, NULL, "org.freedesktop.systemd1",
                                        "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager",
                                        "Subscribe", NULL, NULL, "");
}

static int look_for_unit(Owner *owner) {
        int r = watch_units(owner->owners);
        return r < 0 ? r : owner_ask_unit(owner);
}

/* ---- processes ---- */

static int on_process_ended(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        owner_ended(userdata);
        return 0;
}

static int look_for_process(Owner *owner) {
        int64_t pid;
        int r = string_to_int64(owner->name, &pid);
        if (r < 0)
                return -ESRCH;
        _cleanup_close_ int pidfd = lease_process_open((pid_t) pid, owner->proof);
        if (pidfd < 0)
                return pidfd;
        r = sd_event_add_io(sd_bus_get_event(owner->owners->bus), &owner->process, pidfd, EPOLLIN,
                            on_process_ended, owner);
        if (r >= 0)
                r = sd_event_source_set_io_fd_own(owner->process, true);
        if (r < 0)
                return r;
        TAKE_FD(pidfd);
        owner_found(owner);
        return 0;
}

int lease_owners_name_process(LeaseOwners *owners, int pidfd, Lease *lease, Fault *fault) {
        pid_t pid;
        int r = lease_process_identify(pidfd, /* inode= */ true, &pid, &lease->proof, fault);
        if (r < 0)
                return r == -ESRCH ? -EBUSY : r;
        lease->binding = LEASE_BOUND_PROCESS;
        return asprintf(&lease->owner, "%i", (int) pid) < 0 ? -ENOMEM : 0;
}

int lease_owners_name_caller(LeaseOwners *owners, Lease *lease, Fault *fault) {
        const Peer *peer = bus_current_peer(owners->bus);
        if (!peer || !owners->bus_id)
                return fault_set(fault, -EAGAIN, "the bus has not said who it is");
        lease->binding = LEASE_BOUND_CALLER;
        lease->owner = strdup(peer_unique_name(peer));
        lease->proof = strdup(owners->bus_id);
        return lease->owner && lease->proof ? 0 : -ENOMEM;
}

/* ---- all of them ---- */

static void look_for(Owner *owner) {
        int r = owner->binding == LEASE_BOUND_CALLER ? look_for_caller(owner)
                : owner->binding == LEASE_BOUND_UNIT ? look_for_unit(owner)
                                                     : look_for_process(owner);
        if (r == -ESRCH) {
                owner_ended(owner);
                return;
        }
        if (r >= 0)
                return;
        log_warning("the owner %s of a lease can't be looked for, and the lease stays: %s", owner->name,
                    strerror(-r));
        owner_found(owner);
}

static int owner_new(LeaseOwners *owners, const Lease *lease, Owner **ret) {
        Owner *owner = new0(Owner, 1);
        if (!owner)
                return -ENOMEM;
        *owner = (Owner){
                .owners = owners,
                .number = lease->number,
                .binding = lease->binding,
                .name = strdup(lease->owner),
                .proof = strdup(lease->proof),
        };
        if (!owner->name || !owner->proof) {
                owner_release(owner);
                return -ENOMEM;
        }
        owner->next = owners->list;
        owners->list = owner;
        *ret = owner;
        return 0;
}

int lease_owners_watch(LeaseOwners *owners, const Lease *lease) {
        Owner *owner;
        int r = owner_new(owners, lease, &owner);
        if (r >= 0)
                look_for(owner);
        return r;
}

void lease_owners_forget(LeaseOwners *owners, int64_t number) {
        for (Owner *owner = owners->list; owner; owner = owner->next)
                if (owner->number == number) {
                        owner_take_out(owner);
                        owner_release(owner);
                        settle(owners);
                        return;
                }
}

int lease_owners_settle(LeaseOwners *owners, void (*settled)(void *userdata), void *userdata) {
        if (!lease_owners_are_looked_for(owners)) {
                settled(userdata);
                return 0;
        }
        Settler *settler = new0(Settler, 1);
        if (!settler)
                return -ENOMEM;
        *settler = (Settler){ owners->settlers, settled, userdata };
        owners->settlers = settler;
        return 0;
}

static int take_recorded(Lease *lease, void *userdata) {
        Owner *owner;
        return owner_new(userdata, lease, &owner);
}

/* Each may take itself, but no other one, out of the list. */
static void look_for_all(LeaseOwners *owners) {
        int r = lease_visit_bound(owners->spec.state, take_recorded, owners);
        if (r < 0)
                log_error("the owners of leases can't be read: %s", strerror(-r));
        for (Owner *owner = owners->list, *next; owner; owner = next) {
                next = owner->next;
                look_for(owner);
        }
        owners->loaded = true;
        settle(owners);
}

static int on_bus_id(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        LeaseOwners *owners = userdata;
        const char *id = NULL;
        if (sd_bus_message_is_method_error(message, NULL) || sd_bus_message_read(message, "s", &id) < 0)
                id = "";
        owners->bus_id = strdup(id);
        look_for_all(owners);
        return 0;
}

int lease_owners_new(sd_bus *bus, const LeaseOwnersSpec *spec, LeaseOwners **ret) {
        _cleanup_(lease_owners_freep) LeaseOwners *owners = new0(LeaseOwners, 1);
        if (!owners)
                return -ENOMEM;
        owners->bus = sd_bus_ref(bus);
        owners->spec = *spec;
        int r = sd_bus_call_method_async(bus, &owners->bus_id_slot, "org.freedesktop.DBus",
                                         "/org/freedesktop/DBus", "org.freedesktop.DBus", "GetId", on_bus_id,
                                         owners, "");
        if (r < 0)
                return r;
        *ret = TAKE_PTR(owners);
        return 0;
}

LeaseOwners *lease_owners_free(LeaseOwners *owners) {
        if (!owners)
                return NULL;
        while (owners->list) {
                Owner *owner = owners->list;
                owners->list = owner->next;
                owner_release(owner);
        }
        while (owners->settlers) {
                Settler *settler = owners->settlers;
                owners->settlers = settler->next;
                settler->settled(settler->userdata);
                free(settler);
        }
        sd_event_source_disable_unref(owners->patience);
        sd_bus_slot_unref(owners->bus_id_slot);
        sd_bus_slot_unref(owners->unit_match);
        free(owners->bus_id);
        sd_bus_unref(owners->bus);
        free(owners);
        return NULL;
}
