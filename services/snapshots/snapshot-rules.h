/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What may be done with a snapshot of which kind in which state: one table. */

#include "lib/fault.h"
#include "services/snapshots/snapshot-record.h"

typedef enum SnapshotUse {
        SNAPSHOT_USE_PARENT, /* be built on */
        SNAPSHOT_USE_COMMIT,
        SNAPSHOT_USE_MOUNT,
        SNAPSHOT_USE_UNPACK, /* have a layer unpacked into */
        SNAPSHOT_USE_REMOVE,
        SNAPSHOT_USE_DIFF,
        SNAPSHOT_USE_VERIFY,
        _SNAPSHOT_USE_MAX,
        _SNAPSHOT_USE_INVALID = -22,
} SnapshotUse;

/* 0, or -EBUSY with a sentence. */
int snapshot_check_use(const Snapshot *snapshot, SnapshotUse use, Fault *fault);
