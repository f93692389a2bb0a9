/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/masked-paths.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
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

/* One empty read-only tmpfs serves all masked directories of a container. */
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

/* Init still sees the host's tree at "/", and takes its /dev/null: the container's own could be a link that
 * an image chose. */
static int clone_host_null(void) {
        _cleanup_close_ int fd =
                open_tree(AT_FDCWD, "/dev/null", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW);
        struct stat st;
        if (fd < 0 || fstat(fd, &st) < 0)
                return -errno;
        return S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3) ? TAKE_FD(fd) : -ENODEV;
}

/* cover is the first mount of its kind; once that is attached others are cloned from it (a detached mount
 * can't be cloned before Linux 6.15). */
static int attach_cover(int target, int *cover, bool *attached, int (*make)(void)) {
        if (*cover < 0)
                *cover = make();
        if (*cover < 0)
                return *cover;
        if (!*attached) {
                int r = mount_target_attach(target, *cover);
                *attached = r >= 0;
                return r;
        }
        _cleanup_close_ int clone = clone_tree(*cover, false);
        return clone < 0 ? clone : mount_target_attach(target, clone);
}

int masked_paths_step_mask(ContainerPlan *plan, Fault *fault) {
        _cleanup_close_ int null = -EBADF, empty = -EBADF;
        bool null_attached = false, empty_attached = false;
        STRV_FOREACH (path, plan->config->masked_paths) {
                struct stat st;
                _cleanup_close_ int target = path_open(plan->rootfs_fd, path, O_PATH, 0, PATH_IN_ROOT);
                if (target == -ENOENT || target == -ENOTDIR)
                        continue;
                int r = target < 0 ? target : fstat(target, &st) < 0 ? -errno : 0;
                if (r >= 0)
                        r = S_ISDIR(st.st_mode)
                                    ? attach_cover(target, &empty, &empty_attached, make_empty_directory)
                                    : attach_cover(target, &null, &null_attached, clone_host_null);
                if (r < 0)
                        return fault_set_errno(fault, r, "config.linux.maskedPaths: %s", path);
        }
        return 0;
}
