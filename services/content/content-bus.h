/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* org.crt.Content1: the content store on the bus. */

#include <systemd/sd-bus.h>

#include "bus/object-kind.h"
#include "services/content/content-state.h"
#include "services/content/ingest.h"
#include "services/content/lease-bus.h"

typedef struct ContentBus ContentBus;

/* state and table are borrowed, and must outlive it. */
int content_bus_new(sd_bus *bus, ContentState *state, IngestTable *table, ContentBus **ret);
ContentBus *content_bus_free(ContentBus *content);
DEFINE_CLEANUP(ContentBus *, content_bus_free);

/* A call waits for somebody else. */
bool content_bus_is_busy(const ContentBus *content);

/* Ends the jobs. */
void content_bus_stop(ContentBus *content);

/* Who began a job: 1 and the user, or 0. */
int content_bus_owner_of(ContentBus *content, const char *namespace, const char *object, uid_t *ret);

/* For the collection. */
LeaseTable *content_bus_leases(ContentBus *content);
