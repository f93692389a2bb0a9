/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* org.crt.Snapshots1.Collector. */

#include "bus/collector.h"
#include "services/snapshots/snapshot-manager.h"

int snapshot_collector_new(sd_bus *bus, SnapshotManager *manager, Collector **ret);
