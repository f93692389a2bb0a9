/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Keeps the trash empty by a worker that runs whenever there is something in it. */

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "lib/macros.h"
#include "services/snapshots/tree-store.h"

typedef struct TrashCollector TrashCollector;

/* trees is borrowed. */
int trash_collector_new(sd_event *event, const TreeStore *trees, TrashCollector **ret);
TrashCollector *trash_collector_free(TrashCollector *collector);
DEFINE_CLEANUP(TrashCollector *, trash_collector_free);

/* Something was thrown away. */
void trash_collector_start(TrashCollector *collector);
bool trash_collector_is_busy(const TrashCollector *collector);
