/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The store of snapshots as its own files see it. */

#include "lib/database.h"
#include "services/snapshots/snapshot-store.h"
#include "lib/store-reserve.h"

struct SnapshotStore {
        Database *database;
        StoreReserve reserve;
        SnapshotStoreStart start;
        int64_t *failed; /* unpackings that failed, which could not be written down */
        size_t failed_count;
        bool refers; /* as far as is known, labels of snapshots refer to others */
        void (*on_change)(void *userdata);
        void *userdata;
        bool (*is_limited)(uid_t uid); /* or NULL */
};

/* These labels in the place of those: perhaps something is kept that was not. */
void snapshot_store_note_labels(SnapshotStore *store, char *const *before, char *const *after);
/* Something came into use, or has another parent: what its labels and those below it refer to is kept. */
void snapshot_store_note_use(const SnapshotStore *store);

/* What labels count for (snapshot-labels.c), and whether that user, and all of them together, may have what
 * there is by now in this transaction: -EDQUOT with a sentence. */
uint64_t snapshot_labels_bytes(char *const *labels);
int snapshot_labels_check(SnapshotStore *store, uid_t uid, Fault *fault);

uint64_t snapshot_store_now(void);
/* Records of what is not committed need not survive a power cut; they then vanish as a whole. The next
 * durable transaction syncs them along with itself. */
int snapshot_store_begin(SnapshotStore *store, bool durable);
