/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The store of snapshots as its own files see it. */

#include "lib/database.h"
#include "services/snapshots/snapshot-store.h"
#include "services/snapshots/store-reserve.h"

struct SnapshotStore {
        Database *database;
        StoreReserve reserve;
        SnapshotStoreStart start;
        int64_t *failed; /* unpackings that failed, which could not be written down */
        size_t failed_count;
};

uint64_t snapshot_store_now(void);
/* Records of what is not committed need not survive a power cut; they then vanish as a whole. The next
 * durable transaction syncs them along with itself. */
int snapshot_store_begin(SnapshotStore *store, bool durable);
