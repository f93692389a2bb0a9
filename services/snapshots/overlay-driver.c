/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <dirent.h>
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
#include "services/snapshots/tree-attributes.h"
#include "services/snapshots/tree-store.h"

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

/* ---- a parent that comes later ---- */

static int show_name(int root, const char *name, unsigned char type) {
        if (type != DT_DIR && type != DT_UNKNOWN)
                return 0;
        int fd = openat(root, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return errno == ENOTDIR || errno == ELOOP ? 0 : -errno;
        int r = tree_unset_opaque(fd);
        fd_close(fd);
        return r;
}

/* In the root, which overlayfs merges with an empty layer where there is no other, it marks a directory as
 * opaque that was renamed. Nobody said that it shall hide what is in a parent of which nobody knew. */
static int show_parent(int root) {
        int fd = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
        DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
        if (!stream) {
                r = -errno;
                fd_close(fd);
                return r;
        }
        errno = 0;
        for (struct dirent *entry; r >= 0 && (entry = readdir(stream)); errno = 0)
                if (path_is_component(entry->d_name))
                        r = show_name(root, entry->d_name, entry->d_type);
        if (r >= 0 && errno != 0)
                r = -errno;
        (void) closedir(stream);
        return r;
}

/* In an unpacked layer the marks are what its archive says. */
int layered_tree_finish(const SnapshotFinish *finish, Fault *fault) {
        char path[TREE_PATH_SIZE];
        if (finish->parent < 0 ||
            faccessat(finish->trees, tree_path(finish->id, "notes", path), F_OK, AT_SYMLINK_NOFOLLOW) >= 0)
                return 0;
        _cleanup_close_ int root = path_open(finish->trees, tree_path(finish->id, "fs", path),
                                             O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
        int r = root < 0 ? root : show_parent(root);
        return r < 0 ? fault_set_errno(fault, r, "Can't put the tree on its parent") : 0;
}

const SnapshotDriver overlay_driver = {
        .name = "overlayfs",
        .tells_use = true,
        .probe = layered_tree_probe,
        .make = layered_tree_make,
        .finish = layered_tree_finish,
};
