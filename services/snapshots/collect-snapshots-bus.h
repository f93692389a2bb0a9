/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* org.crt.Snapshots1.Collector. */

#include "bus/collector.h"
#include "services/snapshots/snapshot-manager.h"

typedef struct SnapshotCollector SnapshotCollector;

int snapshot_collector_new(sd_bus *bus, SnapshotManager *manager, SnapshotCollector **ret);
SnapshotCollector *snapshot_collector_free(SnapshotCollector *snapshots);
DEFINE_CLEANUP(SnapshotCollector *, snapshot_collector_free);
bool snapshot_collector_is_busy(const SnapshotCollector *snapshots);
