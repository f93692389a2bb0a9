/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* org.crt.Snapshots1: the face of the manager on the bus. */

#include <systemd/sd-bus.h>

#include "bus/job.h"
#include "services/snapshots/diff-task.h"
#include "services/snapshots/snapshot-bound-bus.h"
#include "services/snapshots/snapshot-manager.h"
#include "services/snapshots/snapshot-usage.h"
#include "services/snapshots/unpack-task.h"
#include "services/snapshots/verify-task.h"

typedef struct SnapshotsBus SnapshotsBus;

/* All borrowed. */
typedef struct SnapshotsBusSpec {
        sd_bus *bus;
        SnapshotManager *manager;
        UnpackQueue *unpacks;
        DiffTable *diffs;
        UsageTable *usages;
        VerifyTable *verifies;
        JobTable *jobs;
        SnapshotsBound *bound;
} SnapshotsBusSpec;

int snapshots_bus_new(const SnapshotsBusSpec *spec, SnapshotsBus **ret);
SnapshotsBus *snapshots_bus_free(SnapshotsBus *face);
DEFINE_CLEANUP(SnapshotsBus *, snapshots_bus_free);

/* Who may have as much as they want. */
bool snapshots_bus_is_limited(uid_t uid);
/* Who makes this call, and whether that is somebody who must leave room for others. */
int snapshots_bus_caller(sd_bus_message *message, uid_t *ret_uid, bool *ret_limited);

/* diff-bus.c */
int snapshots_bus_diff(sd_bus_message *message, DiffTable *table, JobTable *jobs, sd_bus_error *error);

/* snapshot-usage-bus.c */
int snapshots_bus_usage(sd_bus_message *message, UsageTable *table, sd_bus_error *error);
int snapshots_bus_cleanup(sd_bus_message *message, SnapshotManager *manager, sd_bus_error *error);

/* snapshot-verify-bus.c */
int snapshots_bus_verify(sd_bus_message *message, VerifyTable *table, JobTable *jobs, sd_bus_error *error);

/* snapshot-info-bus.c */
int snapshots_bus_stat(sd_bus_message *message, SnapshotManager *manager, sd_bus_error *error);
int snapshots_bus_list(sd_bus_message *message, SnapshotManager *manager, sd_bus_error *error);

/* snapshot-mount-bus.c */
int snapshots_bus_mount(sd_bus_message *message, SnapshotManager *manager, SnapshotsBound *bound,
                        sd_bus_error *error);

/* unpack-bus.c */
int snapshots_bus_unpack(sd_bus_message *message, UnpackQueue *queue, JobTable *jobs, sd_bus_error *error);
