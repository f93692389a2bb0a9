/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/masked-paths.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/path.h"
#include "lib/strv.h"
#include "runtime/mount-target.h"

static int clone_tree(int fd, bool recursive) {
        int clone = open_tree(fd, "",
                              OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH |
                                      (recursive ? AT_RECURSIVE : 0));
        return clone < 0 ? -errno : clone;
}

static int make_readonly(int target) {
        struct mount_attr attributes = { .attr_set = MOUNT_ATTR_RDONLY };
        _cleanup_close_ int clone = clone_tree(target, true);
        if (clone < 0)
                return clone;
        if (mount_setattr(clone, "", AT_EMPTY_PATH | AT_RECURSIVE, &attributes, sizeof(attributes)) < 0)
                return -errno;
        return mount_target_attach(target, clone);
}

int masked_paths_step_readonly(ContainerPlan *plan, Fault *fault) {
        STRV_FOREACH (path, plan->config->readonly_paths) {
                _cleanup_close_ int target = path_open(plan->rootfs_fd, path, O_PATH, 0, PATH_IN_ROOT);
                if (target == -ENOENT || target == -ENOTDIR)
                        continue;
                int r = target < 0 ? target : make_readonly(target);
                if (r < 0)
                        return fault_set_errno(fault, r, "config.linux.readonlyPaths: %s", path);
        }
        return 0;
}

/* One empty read-only tmpfs for all masked directories of a container: each is a clone of it. */
static int make_empty_directory(void) {
        _cleanup_close_ int fs = fsopen("tmpfs", FSOPEN_CLOEXEC);
        if (fs < 0 || fsconfig(fs, FSCONFIG_SET_STRING, "size", "0k", 0) < 0 ||
            fsconfig(fs, FSCONFIG_SET_STRING, "nr_inodes", "1", 0) < 0 ||
            fsconfig(fs, FSCONFIG_SET_STRING, "mode", "0555", 0) < 0 ||
            fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
                return -errno;
        int fd = fsmount(fs, FSMOUNT_CLOEXEC,
                         MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
        return fd < 0 ? -errno : fd;
}

static int mask(const ContainerPlan *plan, int target, int *empty) {
        struct stat st;
        if (fstat(target, &st) < 0)
                return -errno;
        if (!S_ISDIR(st.st_mode)) {
                _cleanup_close_ int null = clone_tree(plan->null_fd, false);
                return null < 0 ? null : mount_target_attach(target, null);
        }
        if (*empty < 0)
                *empty = make_empty_directory();
        if (*empty < 0)
                return *empty;
        _cleanup_close_ int clone = clone_tree(*empty, false);
        return clone < 0 ? clone : mount_target_attach(target, clone);
}

/* Files are covered by the host's /dev/null, which the parent opened and checked. The container's own could
 * be a link that its image chose. */
int masked_paths_step_mask(ContainerPlan *plan, Fault *fault) {
        _cleanup_close_ int empty = -EBADF;
        STRV_FOREACH (path, plan->config->masked_paths) {
                _cleanup_close_ int target = path_open(plan->rootfs_fd, path, O_PATH, 0, PATH_IN_ROOT);
                if (target == -ENOENT || target == -ENOTDIR)
                        continue;
                int r = target < 0 ? target : mask(plan, target, &empty);
                if (r < 0)
                        return fault_set_errno(fault, r, "config.linux.maskedPaths: %s", path);
        }
        return 0;
}
