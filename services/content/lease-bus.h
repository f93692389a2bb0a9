/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* org.crt.Content1.Lease: the leases as objects, and their ends. */

#include <systemd/sd-bus.h>

#include "bus/object-kind.h"
#include "services/content/lease-owners-bus.h"

typedef struct LeaseTable LeaseTable;

/* state is borrowed, and must outlive it. */
int lease_table_new(sd_bus *bus, ContentState *state, LeaseTable **ret);
LeaseTable *lease_table_free(LeaseTable *table);
DEFINE_CLEANUP(LeaseTable *, lease_table_free);

LeaseOwners *lease_table_owners(LeaseTable *table);

/* Makes it (lease_add()), shows it, and watches its owner. */
int lease_table_add(LeaseTable *table, Lease *lease, char *const *labels, Fault *fault);
int lease_table_get_path(const LeaseTable *table, const Lease *lease, char **ret);
