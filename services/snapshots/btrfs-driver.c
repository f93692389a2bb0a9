/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Whole trees as subvolumes: a child begins as a snapshot of its parent, whatever that holds. What is
 * committed is a read-only subvolume. */

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "lib/fd.h"
#include "lib/path.h"
#include "services/snapshots/btrfs-subvolume.h"
#include "services/snapshots/snapshot-driver.h"
#include "services/snapshots/tree-copy.h"
#include "services/snapshots/whole-tree.h"

/* A snapshot has empty directories where the tree has other subvolumes, so such a tree is copied. */
static int btrfs_clone(int from, int tree, const char *name, Fault *fault) {
        if (from >= 0 && btrfs_subvolume_is(from)) {
                int r = btrfs_subvolume_has_others(from);
                if (r == 0)
                        r = btrfs_subvolume_snapshot(from, tree, name);
                else if (r > 0)
                        r = -EXDEV;
                if (r != -EXDEV)
                        return r < 0 ? fault_set_errno(fault, r, "Can't make a snapshot of a subvolume") : 0;
        }
        int r = btrfs_subvolume_make(tree, name);
        if (r >= 0 && fchmodat(tree, name, 0755, 0) < 0)
                r = -errno;
        if (r < 0)
                return fault_set_errno(fault, r, "Can't make a subvolume");
        if (from < 0)
                return 0;
        _cleanup_close_ int to = path_open(tree, name, O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
        if (to < 0)
                return fault_set_errno(fault, to, "Can't open a fresh subvolume");
        const TreeCopy copy = { .from = from, .to = to };
        return tree_copy(&copy, fault);
}

static const WholeTree btrfs_tree = { .clone = btrfs_clone };

static int btrfs_probe(int trees, Fault *fault) {
        struct statfs fs;
        if (fstatfs(trees, &fs) < 0)
                return fault_set_errno(fault, -errno,
                                       "Can't find out what file system the snapshots are on");
        if (fs.f_type != BTRFS_SUPER_MAGIC)
                return fault_set(fault, -EOPNOTSUPP, "The snapshots are not on btrfs");
        return 0;
}

/* Even an empty subvolume may wait for the file system's own commit, which the daemon's loop must not. */
static int btrfs_make(int tree, int parent, Fault *fault) {
        return 1;
}

static int btrfs_fill(const SnapshotFinish *finish, Fault *fault) {
        return whole_tree_fill(&btrfs_tree, finish, fault);
}

static int btrfs_finish(const SnapshotFinish *finish, Fault *fault) {
        return whole_tree_finish(&btrfs_tree, finish, fault);
}

const SnapshotDriver btrfs_driver = {
        .name = "btrfs",
        .whole = true,
        .probe = btrfs_probe,
        .make = btrfs_make,
        .fill = btrfs_fill,
        .finish = btrfs_finish,
};
