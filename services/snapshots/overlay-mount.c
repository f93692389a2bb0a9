/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/overlay-mount.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/path.h"
#include "services/snapshots/image-mount.h"
#include "services/snapshots/tree-store.h"

/* A tree is NUMBER/fs, the files, and NUMBER/work, which overlayfs needs beside it.
 *
 * What each option is set to, whatever the kernel was built with:
 *
 *   index=off              no index of hard links: it would tie a tree to file handles, which no copy of a
 *                          disk keeps, and a tree could not be a layer of several mounts
 *   metacopy=off           a changed mode copies the file: what is committed holds whole files
 *   redirect_dir=nofollow  no archive and no container says where a directory's lower part is; a directory
 *                          that has one is renamed by copying (EXDEV, which mv(1) knows how to handle)
 *   userxattr              not given: with it the marks would be user.overlay.*, which any owner of a file
 * may set and so make a directory opaque; it is for mounters in a user namespace, which this service never
 * is xino=auto              where layers are on more than one file system (EROFS images), so that files keep
 *                          their number when they are copied up and all have the one device of the mount;
 * with all layers on one file system that is so anyway, and xino=off says so volatile               as the
 * caller says */

#define EMPTY_DIRECTORY                                                                                     \
        "empty" /* the lowest layer of all: overlayfs wants two, and hides whiteouts only then */
#define PROBE_DIRECTORY "probe" /* a work directory on a mount of its own, see overlay_mount_is_in_use() */
#define PROBE_UPPER "probe/fs"
#define PROBE_WORK "probe/work"
#define OWN_DIRECTORY "work" /* the kernel's, in the one that it is given */
#define PROBE_XATTR "trusted.overlay.opaque"
#define OPTIONS_SIZE ((size_t) 4096) /* PAGE_SIZE, with the NUL */

static const char *const fixed_options[][2] = {
        { "index", "off" },
        { "metacopy", "off" },
        { "redirect_dir", "nofollow" },
};

static int context_set(int context, const char *key, const char *value) {
        return fsconfig(context, FSCONFIG_SET_STRING, key, value, 0) < 0 ? -errno : 0;
}

/* ---- what the kernel can ---- */

/* Before Linux 6.5 any option is taken down, and only the last step says that it means nothing: so that is
 * tried, too. The layers are named from the working directory. */
static bool kernel_takes_layers_one_by_one(void) {
        _cleanup_close_ int context = fsopen("overlay", FSOPEN_CLOEXEC);
        return context >= 0 && context_set(context, "lowerdir+", EMPTY_DIRECTORY) >= 0 &&
               context_set(context, "lowerdir+", PROBE_DIRECTORY) >= 0 &&
               fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) >= 0;
}

/* Layers that are named from a working directory on a mount that is attached nowhere. */
static bool kernel_takes_detached_layers(int trees) {
        _cleanup_close_ int clone =
                open_tree(trees, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
        return clone >= 0 && fchdir(clone) >= 0 && kernel_takes_layers_one_by_one();
}

int overlay_mount_probe(int trees, OverlayFeatures *ret, Fault *fault) {
        static const char *const names[] = { EMPTY_DIRECTORY, OVERLAY_MOUNT_POINT, PROBE_DIRECTORY,
                                             PROBE_UPPER, PROBE_WORK };
        for (size_t i = 0; i < ELEMENTS_OF(names); i++)
                if (mkdirat(trees, names[i], 0755) < 0 && errno != EEXIST)
                        return fault_set_errno(fault, -errno, "Can't make the directory %s", names[i]);
        if (fchdir(trees) < 0)
                return fault_set_errno(fault, -errno, "Can't enter the directory of trees");
        _cleanup_close_ int context = fsopen("overlay", FSOPEN_CLOEXEC);
        OverlayFeatures features = { .available = context >= 0 };
        features.layers_one_by_one = features.available && kernel_takes_layers_one_by_one();
        features.detached_layers = features.layers_one_by_one && kernel_takes_detached_layers(trees);
        (void) !chdir("/");
        *ret = features;
        return 0;
}

/* ---- layers one by one ---- */

#define LAYERS_MAX 500 /* OVL_MAX_STACK: what the kernel says to more is that something is invalid */

static const char *layer_path(SnapshotLayer layer, char buffer[TREE_PATH_SIZE]) {
        return layer.driver == DRIVER_EROFS ? image_mount_path(layer.id, buffer)
                                            : tree_path(layer.id, "fs", buffer);
}

static bool needs_empty_layer(const OverlayMount *spec) {
        return spec->layer_count + (spec->upper != 0) < 2;
}

static const char *xino(const OverlayMount *spec) {
        return spec->several_devices ? "auto" : "off";
}

int overlay_mount_begin(const OverlayMount *spec) {
        char path[TREE_PATH_SIZE];
        _cleanup_close_ int context = fsopen("overlay", FSOPEN_CLOEXEC);
        if (context < 0)
                return -errno;
        int r = context_set(context, "source", "crt");
        for (size_t i = 0; r >= 0 && i < spec->layer_count; i++)
                r = context_set(context, "lowerdir+", layer_path(spec->layers[i], path));
        for (size_t i = 0; r >= 0 && i < ELEMENTS_OF(fixed_options); i++)
                r = context_set(context, fixed_options[i][0], fixed_options[i][1]);
        if (r >= 0)
                r = context_set(context, "xino", xino(spec));
        return r < 0 ? r : TAKE_FD(context);
}

static int context_finish(int context, const OverlayMount *spec) {
        char path[TREE_PATH_SIZE];
        int r = needs_empty_layer(spec) ? context_set(context, "lowerdir+", EMPTY_DIRECTORY) : 0;
        if (r >= 0 && spec->upper != 0) {
                r = context_set(context, "upperdir", tree_path(spec->upper, "fs", path));
                if (r >= 0)
                        r = context_set(context, "workdir", tree_path(spec->upper, "work", path));
        }
        if (r >= 0 && spec->upper != 0 && spec->is_volatile &&
            fsconfig(context, FSCONFIG_SET_FLAG, "volatile", NULL, 0) < 0)
                r = -errno;
        return r;
}

static int mount_by_context(int context, const OverlayMount *spec) {
        int r = context_finish(context, spec);
        if (r < 0)
                return r;
        if (fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
                return -errno;
        int fd = fsmount(context, FSMOUNT_CLOEXEC, (unsigned) spec->attributes);
        return fd < 0 ? -errno : fd;
}

static int mount_at_once(const OverlayMount *spec) {
        _cleanup_close_ int context = overlay_mount_begin(spec);
        return context < 0 ? context : mount_by_context(context, spec);
}

/* ---- all in one string ---- */

/* "lowerdir=3/fs:2/fs,upperdir=4/fs,workdir=4/work,index=off,..."; -E2BIG when the kernel would cut it off.
 */
static int format_options(const OverlayMount *spec, char buffer[OPTIONS_SIZE]) {
        char path[TREE_PATH_SIZE];
        FILE *stream = fmemopen(buffer, OPTIONS_SIZE, "w");
        if (!stream)
                return -ENOMEM;
        setbuf(stream, NULL);
        (void) fprintf(stream, "lowerdir=");
        for (size_t i = 0; i < spec->layer_count; i++)
                (void) fprintf(stream, "%s%s", i > 0 ? ":" : "", layer_path(spec->layers[i], path));
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
        (void) fprintf(stream, ",xino=%s", xino(spec));
        long length = ftell(stream);
        bool failed = ferror(stream) || length < 0 || (size_t) length >= OPTIONS_SIZE - 1;
        (void) fclose(stream);
        return failed ? -E2BIG : 0;
}

/* Before Linux 6.8: fsconfig() takes at most 255 bytes of lowerdir, so mount(2) it is, and the mount is then
 * taken away from where it was attached. */
static int mount_by_options(const OverlayMount *spec) {
        char options[OPTIONS_SIZE];
        int r = format_options(spec, options);
        if (r < 0)
                return r;
        /* MOUNT_ATTR_RDONLY, NOSUID and NODEV are MS_RDONLY, NOSUID and NODEV. */
        if (mount("crt", OVERLAY_MOUNT_POINT, "overlay", (unsigned long) spec->attributes, options) < 0)
                return -errno;
        int fd = open_tree(AT_FDCWD, OVERLAY_MOUNT_POINT,
                           OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW);
        if (fd < 0)
                fd = -errno;
        if (umount2(OVERLAY_MOUNT_POINT, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && fd >= 0) {
                r = -errno;
                fd_close(fd);
                return r;
        }
        return fd;
}

int overlay_mount(const OverlayMount *spec) {
        if (spec->layer_count + needs_empty_layer(spec) > LAYERS_MAX)
                return -E2BIG;
        if (spec->by_options)
                return mount_by_options(spec);
        /* Whatever has become of what was begun: it is nothing that can't be done again. */
        int fd = spec->begun >= 0 ? mount_by_context(spec->begun, spec) : -EBADF;
        return fd >= 0 ? fd : mount_at_once(spec);
}

/* ---- what is in use ---- */

/* The kernel marks the directories of a writable overlay, and with index=on it refuses them to a second one.
 * So a second one is tried whose work directory is on another mount, which is refused in any case, but only
 * after that check: nothing is mounted and nothing written. */
int overlay_mount_is_in_use(int64_t upper) {
        char path[TREE_PATH_SIZE], work[FD_PROC_PATH_SIZE];
        _cleanup_close_ int context = fsopen("overlay", FSOPEN_CLOEXEC);
        _cleanup_close_ int other =
                open_tree(AT_FDCWD, PROBE_DIRECTORY, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
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

/* ---- what the file system can ---- */

/* The marks, and an overlay that is written to: the kernel takes no upper directory on what can't rename
 * atomically or is remote. It is mounted nowhere and gone at once. */
int overlay_mount_try_upper(void) {
        if (setxattr(PROBE_UPPER, PROBE_XATTR, "y", 1, 0) < 0 || removexattr(PROBE_UPPER, PROBE_XATTR) < 0)
                return -errno;
        _cleanup_close_ int context = fsopen("overlay", FSOPEN_CLOEXEC);
        if (context < 0)
                return -errno;
        int r = context_set(context, "lowerdir", EMPTY_DIRECTORY);
        if (r >= 0)
                r = context_set(context, "upperdir", PROBE_UPPER);
        if (r >= 0)
                r = context_set(context, "workdir", PROBE_WORK);
        if (r >= 0 && fsconfig(context, FSCONFIG_SET_FLAG, "volatile", NULL, 0) < 0)
                r = -errno;
        if (r >= 0 && fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
                r = -errno;
        context = fd_close(context);
        (void) path_remove_tree(AT_FDCWD, PROBE_WORK "/" OWN_DIRECTORY "/incompat");
        return r;
}
