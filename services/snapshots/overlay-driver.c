/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/snapshot-driver.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/path.h"
#include "services/snapshots/tree-attributes.h"
#include "services/snapshots/tree-store.h"

/* A tree is NUMBER/fs, the files, and NUMBER/work, which overlayfs needs beside it. Layers are given by
 * short relative names, so the working directory is trees/ while a mount is made: the options of mount(2)
 * must fit into a page.
 *
 *   index=off              no index of hard links: it would tie a tree to file handles, which no copy of a
 * disk keeps metacopy=off           a changed mode copies the file: what is committed holds whole files
 *   redirect_dir=nofollow  no archive and no container says where a directory's lower part is */

#define EMPTY_DIRECTORY                                                                                     \
        "empty" /* the lowest layer of all: overlayfs wants two, and hides whiteouts only then */
#define MOUNT_POINT                                                                                         \
        "mountpoint"            /* of the fallback, for an instant, in the service's own mount namespace    \
                                 */
#define PROBE_DIRECTORY "probe" /* a work directory on a mount of its own, see overlay_is_in_use() */
#define OPTIONS_SIZE ((size_t) 4096) /* PAGE_SIZE, with the NUL */

static const char *const fixed_options[][2] = {
        { "index", "off" },
        { "metacopy", "off" },
        { "redirect_dir", "nofollow" },
};

/* ---- working directory ---- */

static int enter_trees(int trees) {
        return fchdir(trees) < 0 ? -errno : 0;
}

static void leave_trees(int *entered) {
        if (*entered >= 0)
                (void) !chdir("/");
}

/* ---- setup and trees ---- */

/* lowerdir+ came with Linux 6.8. */
static bool kernel_has_lowerdir_plus(void) {
        _cleanup_close_ int context = fsopen("overlay", FSOPEN_CLOEXEC);
        return context >= 0 && fsconfig(context, FSCONFIG_SET_STRING, "lowerdir+", EMPTY_DIRECTORY, 0) >= 0;
}

static int overlay_setup(int trees, bool *ret_fallback, Fault *fault) {
        static const char *const names[] = { EMPTY_DIRECTORY, MOUNT_POINT, PROBE_DIRECTORY };
        for (size_t i = 0; i < ELEMENTS_OF(names); i++)
                if (mkdirat(trees, names[i], 0755) < 0 && errno != EEXIST)
                        return fault_set_errno(fault, -errno, "Can't make the directory %s", names[i]);
        _cleanup_(leave_trees) int entered = enter_trees(trees);
        if (entered < 0)
                return fault_set_errno(fault, entered, "Can't enter the directory of trees");
        *ret_fallback = !kernel_has_lowerdir_plus();
        return 0;
}

static int overlay_make(int tree, int like, Fault *fault) {
        if (mkdirat(tree, "fs", 0755) < 0 || mkdirat(tree, "work", 0700) < 0)
                return fault_set_errno(fault, -errno, "Can't make a tree");
        /* Whatever the daemon's umask is: this is the root of containers whose layers do not describe it. */
        if (fchmodat(tree, "fs", 0755, 0) < 0)
                return fault_set_errno(fault, -errno, "Can't make a tree");
        if (like < 0)
                return 0;
        _cleanup_close_ int from = path_open(like, "fs", O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
        _cleanup_close_ int to = path_open(tree, "fs", O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
        int r = from < 0 ? from : to < 0 ? to : tree_copy_attributes(from, to);
        return r < 0 ? fault_set_errno(fault, r, "Can't make a tree like its parent's") : 0;
}

/* ---- mounting ---- */

/* A layer may hold any device node: whoever is handed a tree must not be able to open one. Containers get a
 * /dev of their own. */
static uint64_t mount_attributes(const SnapshotMount *spec) {
        uint64_t attributes = MOUNT_ATTR_NODEV;
        if (spec->read_only || spec->upper == 0)
                attributes |= MOUNT_ATTR_RDONLY;
        if (spec->no_setuid)
                attributes |= MOUNT_ATTR_NOSUID;
        return attributes;
}

static int context_set(int context, const char *key, const char *value) {
        return fsconfig(context, FSCONFIG_SET_STRING, key, value, 0) < 0 ? -errno : 0;
}

static bool needs_empty_layer(const SnapshotMount *spec) {
        return spec->layer_count + (spec->upper != 0) < 2;
}

static int context_configure(int context, const SnapshotMount *spec) {
        char path[TREE_PATH_SIZE];
        int r = context_set(context, "source", "crt");
        for (size_t i = 0; r >= 0 && i < spec->layer_count; i++)
                r = context_set(context, "lowerdir+", tree_path(spec->layers[i], "fs", path));
        if (r >= 0 && needs_empty_layer(spec))
                r = context_set(context, "lowerdir+", EMPTY_DIRECTORY);
        if (r >= 0 && spec->upper != 0) {
                r = context_set(context, "upperdir", tree_path(spec->upper, "fs", path));
                if (r >= 0)
                        r = context_set(context, "workdir", tree_path(spec->upper, "work", path));
        }
        for (size_t i = 0; r >= 0 && i < ELEMENTS_OF(fixed_options); i++)
                r = context_set(context, fixed_options[i][0], fixed_options[i][1]);
        if (r >= 0 && spec->upper != 0 && spec->is_volatile &&
            fsconfig(context, FSCONFIG_SET_FLAG, "volatile", NULL, 0) < 0)
                r = -errno;
        return r;
}

static int mount_by_context(const SnapshotMount *spec) {
        _cleanup_close_ int context = fsopen("overlay", FSOPEN_CLOEXEC);
        if (context < 0)
                return -errno;
        int r = context_configure(context, spec);
        if (r < 0)
                return r;
        if (fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
                return -errno;
        int fd = fsmount(context, FSMOUNT_CLOEXEC, (unsigned) mount_attributes(spec));
        return fd < 0 ? -errno : fd;
}

/* "lowerdir=3/fs:2/fs,upperdir=4/fs,workdir=4/work,index=off,..."; -E2BIG when the kernel would cut it off.
 */
static int format_options(const SnapshotMount *spec, char buffer[OPTIONS_SIZE]) {
        char path[TREE_PATH_SIZE];
        FILE *stream = fmemopen(buffer, OPTIONS_SIZE, "w");
        if (!stream)
                return -ENOMEM;
        setbuf(stream, NULL);
        (void) fprintf(stream, "lowerdir=");
        for (size_t i = 0; i < spec->layer_count; i++)
                (void) fprintf(stream, "%s%s", i > 0 ? ":" : "", tree_path(spec->layers[i], "fs", path));
        if (needs_empty_layer(spec))
                (void) fprintf(stream, "%s%s", spec->layer_count > 0 ? ":" : "", EMPTY_DIRECTORY);
        if (spec->upper != 0) {
                (void) fprintf(stream, ",upperdir=%s", tree_path(spec->upper, "fs", path));
                (void) fprintf(stream, ",workdir=%s", tree_path(spec->upper, "work", path));
                if (spec->is_volatile)
                        (void) fprintf(stream, ",volatile");
        }
        for (size_t i = 0; i < ELEMENTS_OF(fixed_options); i++)
                (void) fprintf(stream, ",%s=%s", fixed_options[i][0], fixed_options[i][1]);
        long length = ftell(stream);
        bool failed = ferror(stream) || length < 0 || (size_t) length >= OPTIONS_SIZE - 1;
        (void) fclose(stream);
        return failed ? -E2BIG : 0;
}

/* Before Linux 6.8: fsconfig() takes at most 255 bytes of lowerdir, so mount(2) it is, and the mount is then
 * taken away from where it was attached. */
static int mount_by_options(const SnapshotMount *spec) {
        char options[OPTIONS_SIZE];
        int r = format_options(spec, options);
        if (r < 0)
                return r;
        /* MOUNT_ATTR_RDONLY, NOSUID and NODEV are MS_RDONLY, NOSUID and NODEV. */
        if (mount("crt", MOUNT_POINT, "overlay", (unsigned long) mount_attributes(spec), options) < 0)
                return -errno;
        int fd = open_tree(AT_FDCWD, MOUNT_POINT, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW);
        if (fd < 0)
                fd = -errno;
        if (umount2(MOUNT_POINT, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && fd >= 0) {
                r = -errno;
                fd_close(fd);
                return r;
        }
        return fd;
}

/* The tree itself, and no overlay of it. Whatever other flags the storage itself is mounted with are
 * not the tree's. */
static int mount_directory(const SnapshotMount *spec) {
        char path[TREE_PATH_SIZE];
        _cleanup_close_ int fd = open_tree(AT_FDCWD, tree_path(spec->upper, "fs", path),
                                           OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW);
        if (fd < 0)
                return -errno;
        uint64_t set = mount_attributes(spec);
        struct mount_attr attributes = {
                .attr_set = set,
                .attr_clr = (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC) & ~set,
                .propagation = MS_PRIVATE,
        };
        if (mount_setattr(fd, "", AT_EMPTY_PATH, &attributes, sizeof(attributes)) < 0)
                return -errno;
        return TAKE_FD(fd);
}

static int overlay_mount(int trees, const SnapshotMount *spec, Fault *fault) {
        _cleanup_(leave_trees) int entered = enter_trees(trees);
        int r = entered;
        if (r >= 0 && spec->direct)
                r = mount_directory(spec);
        else if (r >= 0)
                r = spec->fallback ? mount_by_options(spec) : mount_by_context(spec);
        if (r == -E2BIG)
                return fault_set(fault, -EDQUOT, "The snapshot has more layers than this kernel can mount");
        return r < 0 ? fault_set_errno(fault, r, "Can't mount the snapshot") : r;
}

/* ---- what is in use ---- */

/* The kernel marks the directories of a writable overlay, and with index=on it refuses them to a second one.
 * So a second one is tried whose work directory is on another mount, which is refused in any case, but only
 * after that check: nothing is mounted and nothing written. */
static int overlay_is_in_use(int trees, int64_t upper) {
        char path[TREE_PATH_SIZE], work[FD_PROC_PATH_SIZE];
        _cleanup_(leave_trees) int entered = enter_trees(trees);
        _cleanup_close_ int context = fsopen("overlay", FSOPEN_CLOEXEC);
        _cleanup_close_ int other =
                open_tree(AT_FDCWD, PROBE_DIRECTORY, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
        if (entered < 0)
                return entered;
        if (context < 0 || other < 0)
                return -errno;
        int r = context_set(context, "lowerdir", EMPTY_DIRECTORY);
        if (r >= 0)
                r = context_set(context, "upperdir", tree_path(upper, "fs", path));
        if (r >= 0)
                r = context_set(context, "workdir", fd_proc_path(other, work));
        if (r >= 0)
                r = context_set(context, "index", "on");
        if (r < 0)
                return r;
        if (fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) >= 0)
                return -ENOTRECOVERABLE;
        return errno == EBUSY;
}

/* overlayfs leaves this behind to refuse a second mount (Documentation/filesystems/overlayfs.rst, "Volatile
 * mount"). */
static int overlay_forgive_volatile(int trees, int64_t upper) {
        char path[TREE_PATH_SIZE];
        int r = path_remove_tree(trees, tree_path(upper, "work/work/incompat", path));
        return r == -ENOENT ? 0 : r;
}

const SnapshotDriver overlay_driver = {
        .name = "overlayfs",
        .setup = overlay_setup,
        .make = overlay_make,
        .contents = "fs",
        .mount = overlay_mount,
        .is_in_use = overlay_is_in_use,
        .forgive_volatile = overlay_forgive_volatile,
};
