/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* How much a snapshot takes on the disk: measured by a worker where it is not known, which it is of what was
 * committed. */

#include "services/snapshots/snapshot-manager.h"

typedef struct UsageTask UsageTask;
typedef struct UsageTable UsageTable;

int usage_table_new(SnapshotManager *manager, UsageTable **ret);
/* Nobody is told any more. */
UsageTable *usage_table_free(UsageTable *table);
DEFINE_CLEANUP(UsageTable *, usage_table_free);
bool usage_table_is_busy(const UsageTable *table);

typedef struct SnapshotUsage {
        uint64_t size, inodes;               /* of its own */
        uint64_t shared_size, shared_inodes; /* of all that it is built on */
} SnapshotUsage;

typedef struct UsageSpec {
        const char *namespace;
        const char *key;
        uid_t uid;
        bool limited; /* somebody who must leave room for others */
        /* Once, maybe before usage_start() returns. */
        void (*on_end)(int r, const SnapshotUsage *usage, const Fault *fault, void *userdata);
        void *userdata;
} UsageSpec;

/* Negative: refused, on_end is not called. */
int usage_start(UsageTable *table, const UsageSpec *spec, Fault *fault);
