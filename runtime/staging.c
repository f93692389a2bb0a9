/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/staging.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "runtime/mount-target.h"
#include "runtime/rootfs.h"

/* Init looks for nothing here any more: what it needs of the host is open, or in /dev and /proc. Hooks do
 * look for things of the host; what they do not miss is what the root is put over anyway. */
#define PLACE "/run"
#define ROOT_NAME "root"

static int make_area(Fault *fault) {
        _cleanup_close_ int fs = fsopen("tmpfs", FSOPEN_CLOEXEC);
        if (fs < 0 || fsconfig(fs, FSCONFIG_SET_STRING, "mode", "0755", 0) < 0 ||
            fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
                return fault_set_errno(fault, -errno, "a file system to lay mounts out in");
        int fd = fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
        return fd < 0 ? fault_set_errno(fault, -errno, "a file system to lay mounts out in") : fd;
}

/* Not on "/": the kernel gives no user namespace to a process whose root is not the topmost mount of its
 * namespace. */
static int cover_place(const char *path, int area, Fault *fault) {
        int r = rootfs_cut_off_host(fault);
        if (r < 0)
                return r;
        _cleanup_close_ int place = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        r = place < 0 ? -errno : mount_target_attach(place, area);
        return r < 0 ? fault_set_errno(fault, r, "laying mounts out on %s", path) : 0;
}

static int lay_out(int area, const char *name, int mount_fd, bool directory) {
        if (directory ? mkdirat(area, name, 0755) < 0 : mknodat(area, name, S_IFREG | 0644, 0) < 0)
                return -errno;
        _cleanup_close_ int target = openat(area, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        return target < 0 ? -errno : mount_target_attach(target, mount_fd);
}

int staging_lay_out(ContainerPlan *plan, Fault *fault) {
        if (unshare(CLONE_NEWNS) < 0)
                return fault_set_errno(fault, -errno, "a mount namespace to lay mounts out in");
        _cleanup_close_ int area = make_area(fault);
        if (area < 0)
                return area;
        int r = cover_place(plan->root_place ? plan->root_place : PLACE, area, fault);
        if (r < 0)
                return r;
        r = lay_out(area, ROOT_NAME, plan->rootfs_fd, true);
        if (r < 0)
                return fault_set_errno(fault, r, "laying out config.root");
        for (size_t i = 0; i < plan->mount_count; i++) {
                const MountPlan *mount = &plan->mounts[i];
                char name[32];
                if (mount->source_fd < 0)
                        continue;
                (void) snprintf(name, sizeof(name), "%zu", i);
                r = lay_out(area, name, mount->source_fd, mount->directory);
                if (r < 0)
                        return fault_set_errno(fault, r, "laying out config.mounts[%zu]", i);
        }
        return fchdir(area) < 0 ? -errno : 0;
}

/* The descriptors that were prepared belong to the launcher's namespace. Init's working directory is the
 * same place in its own copy: clone3(2) saw to that. */
static int take(const char *name, int *fd) {
        fd_close(*fd);
        *fd = open_tree(AT_FDCWD, name,
                        OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE | AT_SYMLINK_NOFOLLOW);
        return *fd < 0 ? -errno : 0;
}

int staging_step_take(ContainerPlan *plan, Fault *fault) {
        if (!plan_has_user_namespace(plan) || plan->unprivileged)
                return 0;
        int r = take(ROOT_NAME, &plan->rootfs_fd);
        if (r < 0)
                return fault_set_errno(fault, r, "config.root");
        for (size_t i = 0; i < plan->mount_count; i++) {
                char name[32];
                if (plan->mounts[i].source_fd < 0)
                        continue;
                (void) snprintf(name, sizeof(name), "%zu", i);
                r = take(name, &plan->mounts[i].source_fd);
                if (r < 0)
                        return fault_set_errno(fault, r, "config.mounts[%zu]", i);
        }
        return 0;
}
