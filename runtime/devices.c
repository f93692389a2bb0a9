/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/devices.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/path.h"
#include "lib/strv.h"
#include "runtime/mount-target.h"
#include "runtime/mounts.h"

static const RuntimeDevice default_devices[] = {
        { "/dev/null", 'c', 1, 3, 0666, 0, 0 },    { "/dev/zero", 'c', 1, 5, 0666, 0, 0 },
        { "/dev/full", 'c', 1, 7, 0666, 0, 0 },    { "/dev/random", 'c', 1, 8, 0666, 0, 0 },
        { "/dev/urandom", 'c', 1, 9, 0666, 0, 0 }, { "/dev/tty", 'c', 5, 0, 0666, 0, 0 },
};

static const struct {
        const char *name, *target;
} default_links[] = {
        { "fd", "/proc/self/fd" },       { "stdin", "/proc/self/fd/0" }, { "stdout", "/proc/self/fd/1" },
        { "stderr", "/proc/self/fd/2" }, { "ptmx", "pts/ptmx" },
};

static mode_t device_file_type(const RuntimeDevice *device) {
        return device->type == 'c' ? S_IFCHR : device->type == 'b' ? S_IFBLK : S_IFIFO;
}

static bool is_device(const struct stat *st, const RuntimeDevice *device) {
        return (st->st_mode & S_IFMT) == device_file_type(device) &&
               (device->type == 'p' || st->st_rdev == makedev(device->major, device->minor));
}

/* In a user namespace nobody may make devices: the host's own is bound there, if it is the right one. */
static int bind_device(int parent, const char *name, const RuntimeDevice *device, Fault *fault) {
        _cleanup_close_ int clone =
                open_tree(AT_FDCWD, device->path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW);
        struct stat st;
        if (clone < 0 || fstat(clone, &st) < 0)
                return fault_set_errno(fault, -errno, "%s: cannot be made here, and on the host",
                                       device->path);
        if (!is_device(&st, device))
                return fault_set(fault, -EPERM,
                                 "%s: cannot be made here, and on the host it is another device",
                                 device->path);
        _cleanup_close_ int file =
                openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
        if (file < 0)
                return fault_set_errno(fault, -errno, "%s", device->path);
        int r = mount_target_attach(file, clone);
        return r < 0 ? fault_set_errno(fault, r, "%s", device->path) : 0;
}

static int make_device(ContainerPlan *plan, int parent, const char *name, const RuntimeDevice *device,
                       Fault *fault) {
        struct stat st;
        if (mknodat(parent, name, device_file_type(device) | device->mode,
                    makedev(device->major, device->minor)) < 0) {
                int error = -errno;
                if (error == -EPERM && plan_has_user_namespace(plan))
                        return bind_device(parent, name, device, fault);
                if (error == -EEXIST && fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) >= 0 &&
                    is_device(&st, device))
                        return 0;
                return fault_set_errno(fault, error, "%s", device->path);
        }
        if ((device->uid || device->gid) &&
            fchownat(parent, name, device->uid, device->gid, AT_SYMLINK_NOFOLLOW) < 0)
                return fault_set_errno(fault, -errno, "%s: owner %u:%u", device->path, device->uid,
                                       device->gid);
        return 0;
}

int devices_open_directory(const ContainerPlan *plan, Fault *fault) {
        int fd = path_make_directories(plan->rootfs_fd, "dev", 0755, PATH_BENEATH);
        if (fd == -ELOOP || fd == -ENOTDIR)
                return fault_set(fault, fd,
                                 "/dev in the root file system is no directory but a symbolic "
                                 "link or a file");
        return fd < 0 ? fault_set_errno(fault, fd, "/dev") : fd;
}

static int make_configured_device(ContainerPlan *plan, const RuntimeDevice *device, Fault *fault) {
        _cleanup_free_ char *parent_path = NULL;
        const char *path = device->path + strspn(device->path, "/"), *slash = strrchr(path, '/');
        const char *name = slash ? slash + 1 : path;
        if (!path_is_component(name))
                return fault_set(fault, -EINVAL, "%s: is not a file's path", device->path);
        parent_path = slash ? strndup(path, (size_t) (slash - path)) : strdup(".");
        if (!parent_path)
                return -ENOMEM;
        _cleanup_close_ int parent = path_make_directories(plan->rootfs_fd, parent_path, 0755, PATH_BENEATH);
        if (parent < 0)
                return fault_set_errno(fault, parent, "%s", device->path);
        return make_device(plan, parent, name, device, fault);
}

static bool is_configured(const ContainerPlan *plan, const char *path) {
        for (size_t i = 0; i < plan->config->device_count; i++)
                if (string_equal(plan->config->devices[i].path, path))
                        return true;
        return false;
}

static int make_defaults(ContainerPlan *plan, Fault *fault) {
        _cleanup_close_ int dev = devices_open_directory(plan, fault);
        if (dev < 0)
                return dev;
        for (size_t i = 0; i < ELEMENTS_OF(default_devices); i++) {
                const RuntimeDevice *device = &default_devices[i];
                if (is_configured(plan, device->path))
                        continue;
                int r = make_device(plan, dev, device->path + strlen("/dev/"), device, fault);
                if (r < 0)
                        return r;
        }
        for (size_t i = 0; i < ELEMENTS_OF(default_links); i++)
                if (symlinkat(default_links[i].target, dev, default_links[i].name) < 0 && errno != EEXIST)
                        return fault_set_errno(fault, -errno, "/dev/%s", default_links[i].name);
        return 0;
}

/* A /dev bound from elsewhere is taken as it is. */
int devices_step_create(ContainerPlan *plan, Fault *fault) {
        if (!mounts_have(plan, "/dev", true)) {
                int r = make_defaults(plan, fault);
                if (r < 0)
                        return r;
        }
        for (size_t i = 0; i < plan->config->device_count; i++) {
                int r = make_configured_device(plan, &plan->config->devices[i], fault);
                if (r < 0)
                        return fault_prefix(fault, r, "config.linux.devices[%zu]", i);
        }
        return 0;
}
