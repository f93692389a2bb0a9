/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The side of a garbage collection that owns things: what there is goes out as a list, what is to go comes
 * in as one, and is looked at again, thing by thing, before it goes
 * (introspection/org.crt.Content1.Collector.xml, which Snapshots has in the same words).
 *
 * While an epoch is open, every thing that a call to this service names counts as touched, and is safe in
 * that epoch. Both lists are worked on in small steps on the loop, beside all other requests.
 *
 * What keeps a thing may be far from it: a lease here names a manifest, whose layer is unpacked there. So
 * nothing is swept anywhere unless all owners hold: calls that could make something needed wait meanwhile,
 * and who drives the collection has been told whether there were any since it asked for the lists. */

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

#include "bus/call-gate.h"
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

        /* In one turn of the loop: a few things that nothing was found to need, each a record of fields as
         * they were in the inventory, and then the removal of them all at once. What is needed by now, or is
         * not there, is passed over. Without success of the last nothing has gone. */
        int (*sweep)(void *owner, const RecordField fields[RECORD_FIELDS_MAX]);
        int (*sweep_commit)(void *owner, uint32_t *ret_gone, uint64_t *ret_bytes);

        /* Calls that may make something needed, and those that may undo what these do (bus/call-gate.h). */
        const CallGateMember *gated; /* borrowed */
        size_t gated_count;
        /* Such a call has been let in, and what it does is not over yet, but will be whatever else waits.
         * May be NULL. */
        bool (*is_settling)(void *owner);
        /* What could make something needed and is no call waits until it is told false. May be NULL. */
        void (*on_hold)(void *owner, bool holding);
} CollectorSpec;

/* In the records of a sweep: the rest is the owner's. */
enum {
        COLLECTOR_NAMESPACE,
        COLLECTOR_NAME,
        COLLECTOR_STAMP, /* of this very thing, not of a later one of that name; 0: of any */
};

int collector_new(sd_bus *bus, const CollectorSpec *spec, Collector **ret);
Collector *collector_free(Collector *collector);
DEFINE_CLEANUP(Collector *, collector_free);
/* Something that calls do not name: it is safe in the epoch that is open. */
void collector_touch(Collector *collector, const char *name);
/* Something keeps things from now on that did not before: a lease, a label. */
void collector_note_change(Collector *collector);
/* An epoch is open, or a list is being made. */
bool collector_is_busy(const Collector *collector);
