/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/mount-target.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/path.h"
#include "lib/strv.h"

/* RESOLVE_BENEATH knows no absolute paths. */
static const char *relative_path(const char *path) {
        path += strspn(path, "/");
        return path[0] ? path : ".";
}

/* The directory that a path's last component is in, made if it is missing. */
static int make_parent(int root, const char *path, PathResolve resolve, char **ret_name) {
        const char *slash = strrchr(path, '/');
        _cleanup_free_ char *parent_path = slash ? strndup(path, (size_t) (slash - path)) : strdup(".");
        _cleanup_free_ char *name = strdup(slash ? slash + 1 : path);
        if (!name || !parent_path)
                return -ENOMEM;
        if (!path_is_component(name))
                return -EINVAL;
        int parent = path_make_directories(root, parent_path, 0755, resolve);
        if (parent >= 0)
                *ret_name = TAKE_PTR(name);
        return parent;
}

static int make_file(int root, const char *path, PathResolve resolve) {
        _cleanup_free_ char *name = NULL;
        _cleanup_close_ int parent = make_parent(root, path, resolve, &name);
        if (parent < 0)
                return parent;
        int fd = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
        if (fd < 0)
                return -errno;
        fd_close(fd);
        return 0;
}

static int open_or_make(int root, const char *path, bool directory, MountTargetLinks links) {
        PathResolve resolve = links == MOUNT_TARGET_REFUSE ? PATH_BENEATH : PATH_IN_ROOT;
        int flags = O_PATH | (links == MOUNT_TARGET_NOFOLLOW ? O_NOFOLLOW : 0);
        int fd = path_open(root, path, flags, 0, resolve);
        if (fd != -ENOENT)
                return fd;
        if (directory)
                return path_make_directories(root, path, 0755, resolve);
        int r = make_file(root, path, resolve);
        return r < 0 ? r : path_open(root, path, flags, 0, resolve);
}

int mount_target_make_link(int root, const char *destination, const char *text, Fault *fault) {
        char there[PATH_MAX];
        _cleanup_free_ char *name = NULL;
        _cleanup_close_ int parent = make_parent(root, relative_path(destination), PATH_IN_ROOT, &name);
        if (parent < 0)
                return fault_set_errno(fault, parent, "%s", destination);
        if (symlinkat(text, parent, name) >= 0)
                return 0;
        if (errno != EEXIST)
                return fault_set_errno(fault, -errno, "%s", destination);
        ssize_t n = readlinkat(parent, name, there, sizeof(there));
        if (n != (ssize_t) strlen(text) || strncmp(there, text, (size_t) n) != 0)
                return fault_set(fault, -EEXIST, "%s: is there already, and no link to %s", destination,
                                 text);
        return 0;
}

/* What is put over parts of /proc lies to whoever reads them there, and that is what lxcfs is for. All else
 * below /proc is the kernel's. */
static bool is_allowed_on_procfs(const char *path) {
        static const char *const allowed[] = {
                "proc/cpuinfo", "proc/diskstats", "proc/loadavg", "proc/meminfo", "proc/stat",
                "proc/swaps",   "proc/slabinfo",  "proc/uptime",  NULL,
        };
        return strv_contains(allowed, path);
}

int mount_target_open(int root, const char *destination, bool directory, MountTargetLinks links, int *ret,
                      Fault *fault) {
        const char *path = relative_path(destination);
        _cleanup_close_ int fd = open_or_make(root, path, directory, links);
        if (fd == -ELOOP && links == MOUNT_TARGET_REFUSE)
                return fault_set(fault, fd, "%s: a symbolic link is in the way", destination);
        if (fd < 0)
                return fault_set_errno(fault, fd, "%s", destination);

        struct stat st, root_st;
        struct statfs file_system;
        if (fstat(fd, &st) < 0 || fstat(root, &root_st) < 0 || fstatfs(fd, &file_system) < 0)
                return -errno;
        if (st.st_dev == root_st.st_dev && st.st_ino == root_st.st_ino)
                return fault_set(fault, -ELOOP, "%s: leads to the root itself", destination);
        if (S_ISDIR(st.st_mode) != directory)
                return fault_set(fault, directory ? -ENOTDIR : -EISDIR, "%s: is %s directory", destination,
                                 directory ? "no" : "a");
        if (file_system.f_type == PROC_SUPER_MAGIC && links != MOUNT_TARGET_REFUSE &&
            !is_allowed_on_procfs(path))
                return fault_set(fault, -EPERM, "%s: is inside a mounted proc file system", destination);
        *ret = TAKE_FD(fd);
        return 0;
}

int mount_target_attach(int target, int mount_fd) {
        return move_mount(mount_fd, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0
                       ? -errno
                       : 0;
}
