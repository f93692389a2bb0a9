/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/rootfs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/strv.h"
#include "runtime/hooks.h"
#include "runtime/mount-target.h"
#include "runtime/no-pivot.h"

static const uint64_t propagation_flags[] = {
        [RUNTIME_PROPAGATION_DEFAULT] = MS_PRIVATE,       [RUNTIME_PROPAGATION_PRIVATE] = MS_PRIVATE,
        [RUNTIME_PROPAGATION_SHARED] = MS_SHARED,         [RUNTIME_PROPAGATION_SLAVE] = MS_SLAVE,
        [RUNTIME_PROPAGATION_UNBINDABLE] = MS_UNBINDABLE,
};

static int set_propagation(int mount_fd, uint64_t propagation, bool recursive) {
        struct mount_attr attributes = { .propagation = propagation };
        return mount_setattr(mount_fd, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &attributes,
                             sizeof(attributes)) < 0
                       ? -errno
                       : 0;
}

/* Hooks that enter init's mount namespace before it pivots look for the root where the configuration says
 * that it is, and mount below that. */
static int find_place(ContainerPlan *plan, int directory, const char *path) {
        char name[FD_PROC_PATH_SIZE], target[PATH_MAX];
        if (!hooks_see_root(plan->config))
                return 0;
        _cleanup_close_ int fd = openat(directory, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        ssize_t n = readlinkat(plan->proc_fd, fd_proc_path(fd, name) + strlen("/proc/"), target,
                               sizeof(target) - 1);
        if (n < 0)
                return -errno;
        target[n] = '\0';
        if (string_equal(target, "/"))
                return 0;
        plan->root_place = strdup(target);
        return plan->root_place ? 0 : -ENOMEM;
}

static int open_rootfs(ContainerPlan *plan, Fault *fault) {
        const char *path = plan->config->root_path;
        if (!path)
                return fault_set(fault, -EBADMSG, "config.root: is missing");
        if (path[0] != '/' && plan->request->bundle_fd < 0)
                return fault_set(fault, -EINVAL,
                                 "config.root.path: '%s' is relative, and no bundle is given", path);
        int directory = plan->request->bundle_fd >= 0 ? plan->request->bundle_fd : AT_FDCWD;
        int r = find_place(plan, directory, path);
        if (r < 0)
                return fault_set_errno(fault, r, "config.root.path: %s", path);
        int fd = open_tree(directory, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
        return fd < 0 ? fault_set_errno(fault, -errno, "config.root.path: %s", path) : fd;
}

/* What would change a mount table that others see, too. */
static int check_shared(const ContainerPlan *plan, Fault *fault) {
        const RuntimeConfig *config = plan->config;
        const struct {
                bool asked;
                const char *field;
        } needs[] = {
                { config->mount_count > 0, "mounts" },
                { config->root_readonly, "root.readonly" },
                { config->masked_paths && config->masked_paths[0], "linux.maskedPaths" },
                { config->readonly_paths && config->readonly_paths[0], "linux.readonlyPaths" },
                { config->root_propagation != RUNTIME_PROPAGATION_DEFAULT, "linux.rootfsPropagation" },
                { plan_has_user_namespace(plan), "linux.namespaces: user" },
                { plan->request->rootfs_fd >= 0 || !config->root_path, "root.path" },
        };
        for (size_t i = 0; i < ELEMENTS_OF(needs); i++)
                if (needs[i].asked)
                        return fault_set(fault, -EINVAL,
                                         "config.%s: needs a mount namespace of the container's own in "
                                         "linux.namespaces",
                                         needs[i].field);
        return 0;
}

static int open_shared(const ContainerPlan *plan) {
        int directory = plan->request->bundle_fd >= 0 ? plan->request->bundle_fd : AT_FDCWD;
        int fd = openat(directory, plan->config->root_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
}

static int prepare_shared(ContainerPlan *plan, Fault *fault) {
        int r = check_shared(plan, fault);
        if (r < 0)
                return r;
        plan->rootfs_fd = open_shared(plan);
        plan->own_rootfs_fd = true;
        return plan->rootfs_fd < 0 ? fault_set_errno(fault, plan->rootfs_fd, "config.root.path: %s",
                                                     plan->config->root_path)
                                   : 0;
}

/* A clone of a shared mount is its peer: what the container mounts would show on the host. Before anything
 * is mounted on it, it leaves the peer group (or becomes its slave). Shared and unbindable have to wait
 * until pivot_root(2), which takes neither. */
int rootfs_prepare(ContainerPlan *plan, Fault *fault) {
        if (!plan_owns_mounts(plan))
                return prepare_shared(plan, fault);
        int r = no_pivot_check(plan, fault);
        if (r < 0)
                return r;
        if (plan->request->rootfs_fd >= 0) {
                plan->rootfs_fd = plan->request->rootfs_fd;
        } else {
                plan->rootfs_fd = open_rootfs(plan, fault);
                plan->own_rootfs_fd = true;
        }
        if (plan->rootfs_fd < 0)
                return plan->rootfs_fd;

        struct stat st;
        if (fstat(plan->rootfs_fd, &st) < 0)
                return -errno;
        if (!S_ISDIR(st.st_mode))
                return fault_set(fault, -ENOTDIR, "config.root.path: is not a directory");
        r = set_propagation(
                plan->rootfs_fd,
                plan->config->root_propagation == RUNTIME_PROPAGATION_SLAVE ? MS_SLAVE : MS_PRIVATE, true);
        return r < 0 ? fault_set_errno(fault, r, "the root file system is no detached mount") : 0;
}

int rootfs_cut_off_host(Fault *fault) {
        _cleanup_close_ int slash = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
        int r = slash < 0 ? -errno : set_propagation(slash, MS_PRIVATE, true);
        return r < 0 ? fault_set_errno(fault, r, "cutting the mounts off from the host's") : 0;
}

/* In a mount namespace that was joined the path means what it means there, and a relative one begins where
 * the bundle is there: the bundle's descriptor leads into the caller's. */
static int take_shared(ContainerPlan *plan, Fault *fault) {
        const char *path = plan->config->root_path, *bundle = plan->request->bundle;
        _cleanup_free_ char *joined = NULL;
        if (!plan->config->namespaces[RUNTIME_NAMESPACE_MOUNT].path)
                return 0;
        if (path[0] != '/' && (!bundle || bundle[0] != '/'))
                return fault_set(
                        fault, -EINVAL,
                        "config.root.path: '%s' must be absolute in a mount namespace that is joined", path);
        if (path[0] != '/' && asprintf(&joined, "%s/%s", bundle, path) < 0)
                return -ENOMEM;
        fd_close(plan->rootfs_fd);
        plan->rootfs_fd = open(joined ? joined : path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        return plan->rootfs_fd < 0 ? fault_set_errno(fault, -errno, "config.root.path: %s", path) : 0;
}

/* The unmounting of the host's tree, later, must not travel back to it. The new root goes on top of "/",
 * where no path lookup of this process finds it, unless hooks are to find it. */
int rootfs_step_attach(ContainerPlan *plan, Fault *fault) {
        if (!plan_owns_mounts(plan))
                return take_shared(plan, fault);
        int r = rootfs_cut_off_host(fault);
        if (r < 0)
                return r;
        const char *place = plan->root_place ? plan->root_place : "/";
        _cleanup_close_ int target = open(place, O_PATH | O_DIRECTORY | O_CLOEXEC);
        r = target < 0 ? -errno : mount_target_attach(target, plan->rootfs_fd);
        return r < 0 ? fault_set_errno(fault, r, "config.root") : 0;
}

int rootfs_step_readonly(ContainerPlan *plan, Fault *fault) {
        struct mount_attr attributes = { .attr_set = MOUNT_ATTR_RDONLY };
        if (plan->config->root_readonly &&
            mount_setattr(plan->rootfs_fd, "", AT_EMPTY_PATH, &attributes, sizeof(attributes)) < 0)
                return fault_set_errno(fault, -errno, "config.root.readonly");
        return 0;
}

/* pivot_root(".", "."): the old root comes to lie on top of the new one, and is taken off again. Nothing of
 * the host is reachable by path after this. */
static int pivot(const ContainerPlan *plan, Fault *fault) {
        int r = syscall(SYS_pivot_root, ".", ".") < 0 ? -errno : 0;
        if (r == -EINVAL && plan->request->no_pivot)
                return no_pivot_change_root(plan, fault);
        if (r < 0)
                return fault_set_errno(fault, r, "pivot_root%s",
                                       r == -EINVAL ? " (in an initramfs there is only --no-pivot)" : "");
        if (umount2(".", MNT_DETACH) < 0)
                return fault_set_errno(fault, -errno, "unmounting the host's file systems");
        return 0;
}

int rootfs_step_pivot(ContainerPlan *plan, Fault *fault) {
        if (fchdir(plan->rootfs_fd) < 0)
                return -errno;
        if (!plan_owns_mounts(plan))
                return chroot(".") < 0 ? fault_set_errno(fault, -errno, "chroot") : 0;
        int r = pivot(plan, fault);
        if (r < 0)
                return r;
        if (chdir("/") < 0)
                return -errno;

        RuntimePropagation wanted = plan->config->root_propagation;
        if (wanted != RUNTIME_PROPAGATION_SHARED && wanted != RUNTIME_PROPAGATION_UNBINDABLE)
                return 0;
        r = set_propagation(plan->rootfs_fd, propagation_flags[wanted],
                            plan->config->root_propagation_recursive);
        return r < 0 ? fault_set_errno(fault, r, "config.linux.rootfsPropagation") : 0;
}
