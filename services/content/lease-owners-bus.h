/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Those whom leases are bound to: connections, units, processes. They are looked for when the service
 * starts, which may be long after they have ended, and watched while it runs. */

#include <systemd/sd-bus.h>

#include "services/content/lease-store.h"

/* After what could not be written, and will hardly be the next moment. */
#define LEASE_PATIENCE_USEC (UINT64_C(60) * 1000000)

typedef struct LeaseOwners LeaseOwners;

typedef struct LeaseOwnersSpec {
        ContentState *state;
        /* The owner of that lease has ended: the lease is to be removed. Negative: it can't be now, and is
         * tried again. */
        int (*ended)(int64_t number, void *userdata);
        void *userdata;
} LeaseOwnersSpec;

/* Begins to look for the owners of all leases that there are. */
int lease_owners_new(sd_bus *bus, const LeaseOwnersSpec *spec, LeaseOwners **ret);
LeaseOwners *lease_owners_free(LeaseOwners *owners);
DEFINE_CLEANUP(LeaseOwners *, lease_owners_free);

/* Some of them have not been found yet. */
bool lease_owners_are_looked_for(const LeaseOwners *owners);
/* Calls back when all have been found, or their leases been removed, or nobody looks any longer; at once if
 * that is so. */
int lease_owners_settle(LeaseOwners *owners, void (*settled)(void *userdata), void *userdata);

/* What a lease that is to be bound to them has to say: binding, owner and proof. For units see
 * lease-unit-bus.h. -EBUSY: the process has ended. */
int lease_owners_name_caller(LeaseOwners *owners, Lease *lease, Fault *fault);
int lease_owners_name_process(LeaseOwners *owners, int pidfd, Lease *lease, Fault *fault);

/* A bound lease has been made, or is no more. */
int lease_owners_watch(LeaseOwners *owners, const Lease *lease);
void lease_owners_forget(LeaseOwners *owners, int64_t number);

/* A lease could be removed: so can those, if any, whose owners have ended when they could not. */
void lease_owners_try_again(LeaseOwners *owners);
