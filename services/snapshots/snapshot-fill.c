/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/snapshot-fill.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>

#include "lib/fd.h"
#include "lib/limits.h"
#include "lib/log.h"
#include "lib/path.h"
#include "lib/strv.h"
#include "services/snapshots/btrfs-subvolume.h"
#include "services/snapshots/snapshot-make.h"
#include "services/snapshots/trash-collector.h"
#include "services/snapshots/tree-argument.h"
#include "services/snapshots/worker-run.h"
#include "services/snapshots/worker-slots.h"

#define RETRY_USEC (UINT64_C(1) * 1000 * 1000)

struct SnapshotFill {
        SnapshotFill *next;
        SnapshotManager *manager; /* weak */
        WorkerRun *run;           /* NULL: it waits */
        sd_event_source *retry;   /* it failed, and its record could not be removed yet */
        TreeArgument argument;
        uint64_t size_max;
        bool limited;
        uid_t uid;
        void (*on_end)(int r, const Fault *fault, void *userdata);
        void *userdata;
};

static void fills_run(SnapshotManager *manager);

static void fill_free(SnapshotFill *fill) {
        SnapshotFill **place = &fill->manager->fills;
        while (*place && *place != fill)
                place = &(*place)->next;
        if (*place)
                *place = fill->next;
        sd_event_source_disable_unref(fill->retry);
        worker_run_free(fill->run);
        free(fill);
}

static int forget(SnapshotManager *manager, int64_t id) {
        int r = snapshot_store_forget(manager->store, id);
        if (r < 0)
                return r;
        r = tree_store_discard(&manager->trees, id, NULL);
        if (r < 0)
                log_warning("a tree that was not filled stays until the next start: %s", strerror(-r));
        manager->in_step = manager->in_step && r >= 0;
        trash_collector_start(manager->trash);
        return 0;
}

void snapshot_fill_forget(SnapshotManager *manager, int64_t id) {
        int r = forget(manager, id);
        if (r >= 0)
                return;
        log_warning("a snapshot that was not filled stays until the next start: %s", strerror(-r));
        manager->in_step = false;
}

static int on_retry(sd_event_source *source, uint64_t now, void *userdata) {
        SnapshotFill *fill = userdata;
        if (forget(fill->manager, fill->argument.id) >= 0) {
                fill_free(fill);
                return 0;
        }
        (void) sd_event_source_set_time_relative(source, RETRY_USEC);
        (void) sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
        return 0;
}

/* The disk that was too full for the tree may be too full for the database as well. */
static void fill_fail(SnapshotFill *fill) {
        SnapshotManager *manager = fill->manager;
        fill->run = worker_run_free(fill->run);
        if (forget(manager, fill->argument.id) >= 0) {
                fill_free(fill);
                return;
        }
        int r = sd_event_add_time_relative(manager->event, &fill->retry, CLOCK_MONOTONIC, RETRY_USEC, 0,
                                           on_retry, fill);
        if (r >= 0)
                return;
        log_warning("a snapshot that was not filled stays until the next start: %s", strerror(-r));
        manager->in_step = false;
        fill_free(fill);
}

/* Quotas of btrfs belong to the subvolume, which is there only now. */
static int set_limit(const SnapshotFill *fill, Fault *fault) {
        char path[TREE_PATH_SIZE];
        if (fill->size_max == 0 || fill->argument.driver != DRIVER_BTRFS)
                return 0;
        _cleanup_close_ int fd =
                path_open(fill->manager->trees.trees, tree_path(fill->argument.id, "fs", path),
                          O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
        int r = fd < 0 ? fd : btrfs_subvolume_limit(fd, fill->size_max);
        if (r == -EOPNOTSUPP)
                return fault_set(fault, r,
                                 "option 'size-max': quotas are not switched on for the file system of the "
                                 "snapshots (btrfs quota enable)");
        return r < 0 ? fault_set_errno(fault, r, "Can't limit the size of the snapshot") : 0;
}

static void on_filled(int r, const WorkerMessage *done, const Fault *fault, void *userdata) {
        SnapshotFill *fill = userdata;
        SnapshotManager *manager = fill->manager;
        _cleanup_(fault_done) Fault own = FAULT_NULL;
        if (r < 0)
                (void) fault_set(&own, r, "%s", fault_text(fault, r));
        else
                r = set_limit(fill, &own);
        if (r >= 0)
                r = snapshot_store_set_state(manager->store, fill->argument.id, SNAPSHOT_PREPARED, NULL);
        const SnapshotFill ended = *fill;
        if (r < 0)
                fill_fail(fill);
        else
                fill_free(fill);
        ended.on_end(r, &own, ended.userdata);
        fills_run(manager);
}

static int fill_run(SnapshotFill *fill, Fault *fault) {
        SnapshotManager *manager = fill->manager;
        _cleanup_close_ int parent = -EBADF;
        _cleanup_strv_ char **arguments = NULL;
        if (fill->argument.parent_id > 0) {
                parent = snapshot_make_open_parent(manager, fill->argument.parent_id, fault);
                if (parent < 0)
                        return parent;
                fill->argument.parent = TREE_ARGUMENT_FIRST_FD;
        }
        int r = strv_append(&arguments, "fill");
        if (r >= 0)
                r = tree_argument_append(&arguments, &fill->argument);
        if (r < 0)
                return r;
        const WorkerRunSpec spec = {
                .program = "crt-tree",
                .arguments = (const char *const *) arguments,
                .fds = (const int[]){ manager->trees.handed_trees, manager->trees.handed_trash, parent },
                .fd_count = parent >= 0 ? 3 : 2,
                .on_end = on_filled,
                .userdata = fill,
        };
        return worker_run_new(manager->event, &spec, &fill->run, fault);
}

static bool may_run(const SnapshotFill *fill) {
        WorkerSlots slots = { .limited = fill->limited, .uid = fill->uid };
        for (const SnapshotFill *f = fill->manager->fills; f; f = f->next)
                if (f->run)
                        worker_slots_count(&slots, f->limited, f->uid);
        return worker_slots_are_free(&slots, LIMIT_CONCURRENT_FILLS);
}

/* Whoever is told may begin the next, so the list is looked at anew each time. */
static void fills_run(SnapshotManager *manager) {
        for (SnapshotFill *fill = manager->fills; fill;) {
                if (fill->run || fill->retry || !may_run(fill)) {
                        fill = fill->next;
                        continue;
                }
                _cleanup_(fault_done) Fault fault = FAULT_NULL;
                int r = fill_run(fill, &fault);
                if (r >= 0) {
                        fill = fill->next;
                        continue;
                }
                const SnapshotFill ended = *fill;
                fill_fail(fill);
                ended.on_end(r, &fault, ended.userdata);
                fill = manager->fills;
        }
}

int snapshot_fill_start(SnapshotManager *manager, const SnapshotFillSpec *spec, Fault *fault) {
        SnapshotFill *fill = new0(SnapshotFill, 1);
        if (!fill) {
                snapshot_fill_forget(manager, spec->snapshot->id);
                return -ENOMEM;
        }
        *fill = (SnapshotFill){
                .manager = manager,
                .argument = { .id = spec->snapshot->id,
                              .driver = spec->snapshot->driver,
                              .parent_id = spec->snapshot->parent_id },
                .size_max = spec->snapshot->size_max,
                .limited = spec->limited,
                .uid = spec->snapshot->uid,
                .on_end = spec->on_end,
                .userdata = spec->userdata,
        };
        SnapshotFill **place = &manager->fills;
        while (*place)
                place = &(*place)->next;
        *place = fill;
        /* The first is started at once, so that what is wrong with it can be said at once. */
        if (!may_run(fill))
                return 0;
        int r = fill_run(fill, fault);
        if (r < 0)
                fill_fail(fill);
        return r;
}

void snapshot_fill_free_all(SnapshotManager *manager) {
        while (manager->fills)
                fill_free(manager->fills);
}
