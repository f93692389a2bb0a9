/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Keeps the trash empty by a worker that runs whenever there is something in it. */

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "lib/fault.h"
#include "lib/macros.h"
#include "services/snapshots/tree-store.h"

typedef struct TrashCollector TrashCollector;

/* trees is borrowed. */
int trash_collector_new(sd_event *event, const TreeStore *trees, TrashCollector **ret);
TrashCollector *trash_collector_free(TrashCollector *collector);
DEFINE_CLEANUP(TrashCollector *, trash_collector_free);

/* Something was thrown away; it is deleted within a moment, with what comes after it. */
void trash_collector_start(TrashCollector *collector);
/* All that an earlier run of the daemon has left is thrown away, too. Until then nobody is told that it is
 * gone. */
void trash_collector_has_all(TrashCollector *collector);
bool trash_collector_is_busy(const TrashCollector *collector);

/* Calls on_end once, maybe at once, when everything that is in the trash now is deleted, or can't be: with
 * what was freed meanwhile; for the first who asks, and of what an earlier run has left, since the start.
 * -EDQUOT: too many wait. */
typedef struct TrashFreed {
        uint64_t size;
        uint64_t inodes;
} TrashFreed;
typedef void (*TrashOnEnd)(int r, const TrashFreed *freed, const Fault *fault, void *userdata);
int trash_collector_wait(TrashCollector *collector, TrashOnEnd on_end, void *userdata, Fault *fault);
