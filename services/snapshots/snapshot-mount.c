/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/snapshot-mount.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "services/snapshots/snapshot-ahead.h"
#include "services/snapshots/snapshot-commit.h"
#include "services/snapshots/snapshot-rules.h"

/* ---- what is in use ---- */

int snapshot_mount_check_unused(SnapshotManager *manager, const Snapshot *snapshot, Fault *fault) {
        if (snapshot->kind != SNAPSHOT_ACTIVE || snapshot->mounted == MOUNTED_NEVER ||
            !snapshot_driver_get(snapshot->driver)->tells_use)
                return 0;
        MountLife life = mount_watch_get(manager->mounts, snapshot->id);
        if (life == MOUNT_GONE)
                return 0;
        if (life == MOUNT_UNKNOWN) {
                int r = tree_mounts_is_in_use(manager->tree_mounts, snapshot->id);
                if (r < 0)
                        return fault_set_errno(fault, r, "Can't find out whether '%s' is in use",
                                               snapshot->key);
                if (r == 0)
                        return 0;
        }
        return fault_set(fault, -EBUSY, "The snapshot '%s' is in use: it is mounted", snapshot->key);
}

/* ---- mounting ---- */

/* Recorded before there is a mount: should the daemon be killed in between, the snapshot counts as mounted,
 * and the kernel is asked. */
static int note_writable_mount(SnapshotManager *manager, const Snapshot *snapshot, bool is_volatile,
                               Fault *fault) {
        int r = 0;
        if (snapshot->mounted == MOUNTED_VOLATILE)
                r = tree_mounts_forgive_volatile(manager->tree_mounts, snapshot->id);
        if (r < 0)
                return fault_set_errno(fault, r, "Can't mount the volatile snapshot '%s' again",
                                       snapshot->key);
        is_volatile = is_volatile || snapshot->mounted == MOUNTED_VOLATILE;
        r = snapshot_store_set_mounted(manager->store, snapshot->id,
                                       is_volatile ? MOUNTED_VOLATILE : MOUNTED_WRITABLE);
        return r < 0 ? fault_set_errno(fault, r, "Can't record the mount of '%s'", snapshot->key) : 0;
}

/* What was looked up before this was asked for, if what is below the snapshot is seen as it is; and the next
 * one to do so finds it again, even if it comes at once. */
static int take_begun(SnapshotManager *manager, const Snapshot *snapshot,
                      const SnapshotMountOptions *options) {
        if (options->users >= 0 || snapshot->parent_id == 0)
                return -EBADF;
        snapshot_ahead_expect(manager->ahead, snapshot);
        return snapshot_chains_take_begun(manager->chains, snapshot->parent_id);
}

/* The snapshot itself is a lower layer when it is looked at only, and not an image yet. */
static int mount_read_only(SnapshotManager *manager, const Snapshot *snapshot, SnapshotLayer *chain,
                           size_t count, const SnapshotMountOptions *options, Fault *fault) {
        bool active = snapshot->kind == SNAPSHOT_ACTIVE;
        _cleanup_close_ int begun = active ? -EBADF : take_begun(manager, snapshot, options);
        if (active && chain[0].driver == DRIVER_EROFS)
                chain[0].driver = DRIVER_OVERLAYFS;
        const TreeMountSpec mount = {
                .layers = active ? chain : chain + 1,
                .layer_count = active ? count : count - 1,
                .read_only = true,
                .no_setuid = options->no_setuid,
                .users = options->users,
                .begun = begun,
        };
        return tree_mounts_mount(manager->tree_mounts, &mount, fault);
}

/* Without a parent it is an overlay, too, if its driver makes overlays: whether one of these is still
 * mounted can be found out. */
static int mount_writable(SnapshotManager *manager, const Snapshot *snapshot, const SnapshotLayer *chain,
                          size_t count, const SnapshotMountOptions *options, Fault *fault) {
        bool is_volatile = options->is_volatile && snapshot_driver_get(snapshot->driver)->tells_use;
        _cleanup_close_ int begun = take_begun(manager, snapshot, options);
        const TreeMountSpec mount = {
                .layers = chain + 1,
                .layer_count = count - 1,
                .upper = chain[0],
                .no_setuid = options->no_setuid,
                .is_volatile = is_volatile,
                .users = options->users,
                .begun = begun,
        };
        int r = note_writable_mount(manager, snapshot, is_volatile, fault);
        if (r < 0)
                return r;
        _cleanup_close_ int fd = tree_mounts_mount(manager->tree_mounts, &mount, fault);
        if (fd < 0)
                return fd;
        r = snapshot_driver_get(snapshot->driver)->tells_use
                    ? mount_watch_add(manager->mounts, snapshot->id, fd)
                    : 0;
        if (r < 0)
                log_debug("can't watch the mount of %s: %s", snapshot->key, strerror(-r));
        return TAKE_FD(fd);
}

static int mount_snapshot(SnapshotManager *manager, const Snapshot *snapshot,
                          const SnapshotMountOptions *options, Fault *fault) {
        _cleanup_free_ SnapshotLayer *chain = NULL;
        size_t count = 0;
        int r = snapshot_chains_get(manager->chains, manager->store, snapshot, &chain, &count);
        if (r < 0)
                return fault_set_errno(fault, r, "Can't find what '%s' is built on", snapshot->key);
        return snapshot->kind == SNAPSHOT_ACTIVE && !options->read_only
                       ? mount_writable(manager, snapshot, chain, count, options, fault)
                       : mount_read_only(manager, snapshot, chain, count, options, fault);
}

int snapshot_mount(SnapshotManager *manager, const Snapshot *snapshot, const SnapshotMountOptions *options,
                   Fault *fault) {
        int r = snapshot_check_use(snapshot, SNAPSHOT_USE_MOUNT, fault);
        if (r >= 0)
                r = snapshot_commit_check_settled(manager, snapshot, fault);
        if (r >= 0)
                r = snapshot_mount_check_unused(manager, snapshot, fault);
        return r < 0 ? r : mount_snapshot(manager, snapshot, options, fault);
}
