/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* After a crash of the daemon or of the machine: records and trees are brought back in step. */

#include "services/snapshots/snapshot-manager.h"

/* Trees without a record go to the trash; active records without a tree (their directory was not on the disk
 * yet) are forgotten. A committed one without a tree is damaged: its tree was synced before its record, so
 * somebody took it away. Nothing is looked at when the last end was orderly. */
int snapshot_recovery_run(SnapshotManager *manager, Fault *fault);
/* What commits that were recorded have left beside their trees is in nobody's way, and there may be many
 * thousand trees to look at: that is done beside the work. */
SnapshotRecovery *snapshot_recovery_free(SnapshotRecovery *recovery);
