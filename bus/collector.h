/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The side of a garbage collection that owns things: what there is goes out as a list, what is to go comes
 * in as one, and is looked at again, thing by thing, before it goes
 * (introspection/org.crt.Content1.Collector.xml, which Snapshots has in the same words).
 *
 * While an epoch is open, every thing that a call to this service names counts as touched, and is safe in
 * that epoch. Both lists are worked on in small steps on the loop, beside all other requests. */

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

#include "lib/macros.h"
#include "lib/record-file.h"

typedef struct Collector Collector;

typedef struct CollectorSpec {
        const char *path;
        const char *interface;
        void *owner; /* what the functions below are given */

        /* A list in the making. roots: only what keeps things, not all things that there are. */
        int (*inventory_new)(void *owner, bool roots, void **ret_cursor);
        /* A millisecond's worth of records. 1: there are more, 0: that was all. */
        int (*inventory_step)(void *cursor, RecordWriter *writer);
        void (*inventory_free)(void *cursor);

        /* One thing that nothing was found to need: a record of fields as they were in the inventory. 1 and
         * the bytes: it is gone; 0: it is needed by now, or is not there. */
        int (*sweep)(void *owner, const RecordField fields[RECORD_FIELDS_MAX], uint64_t *ret_bytes);
        /* Behind the last one of a list. */
        void (*sweep_end)(void *owner);
} CollectorSpec;

/* In the records of a sweep: the rest is the owner's. */
enum {
        COLLECTOR_NAMESPACE,
        COLLECTOR_NAME,
        COLLECTOR_STAMP, /* of this very thing, not of a later one of that name */
};

int collector_new(sd_bus *bus, const CollectorSpec *spec, Collector **ret);
Collector *collector_free(Collector *collector);
DEFINE_CLEANUP(Collector *, collector_free);
/* Something that calls do not name: it is safe in the epoch that is open. */
void collector_touch(Collector *collector, const char *name);
/* An epoch is open, or a list is being made. */
bool collector_is_busy(const Collector *collector);
