/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/path.h"
#include "services/snapshots/file-copy.h"
#include "services/snapshots/layered-tree.h"
#include "services/snapshots/overlay-mount.h"
#include "services/snapshots/snapshot-driver.h"

int layered_tree_make(int tree, int parent, Fault *fault) {
        if (mkdirat(tree, "fs", 0755) < 0 || mkdirat(tree, "work", 0700) < 0)
                return fault_set_errno(fault, -errno, "Can't make a tree");
        /* Whatever the daemon's umask is: this is the root of containers whose layers do not describe it. */
        if (fchmodat(tree, "fs", 0755, 0) < 0)
                return fault_set_errno(fault, -errno, "Can't make a tree");
        if (parent < 0)
                return 0;
        _cleanup_close_ int to = path_open(tree, "fs", O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
        int r = to < 0 ? to : file_copy_attributes(parent, to);
        return r < 0 ? fault_set_errno(fault, r, "Can't make a tree like its parent's") : 0;
}

int layered_tree_probe(int trees, Fault *fault) {
        int r = fchdir(trees) < 0 ? -errno : overlay_mount_try_upper();
        (void) !chdir("/");
        switch (-r) {
        case EOPNOTSUPP: /* no attributes */
        case EPERM:
        case EINVAL: /* not as an upper directory */
        case ENODEV: /* no overlayfs */
        case ENOSYS:
                return fault_set(fault, -EOPNOTSUPP,
                                 "overlayfs can't write to the file system of the snapshots: %s",
                                 fault_text(NULL, r));
        case ENOSPC: /* with room, it could */
        case EDQUOT:
                return 0;
        default:
                return r < 0 ? fault_set_errno(fault, r,
                                               "Can't find out whether overlayfs can write to the file "
                                               "system of the snapshots")
                             : 0;
        }
}

const SnapshotDriver overlay_driver = {
        .name = "overlayfs",
        .tells_use = true,
        .probe = layered_tree_probe,
        .make = layered_tree_make,
};
