/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/tree-mount.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/path.h"
#include "services/snapshots/fs-ids.h"
#include "services/snapshots/locked-mount.h"
#include "services/snapshots/overlay-mount.h"
#include "services/snapshots/tree-store.h"

#define STAGE                                                                                               \
        "stage" /* where layers with other ids are attached for an instant, in the daemon's namespace */

/* ---- life ---- */

int tree_mounts_new(const TreeMountsSpec *spec, TreeMounts **ret, Fault *fault) {
        _cleanup_(tree_mounts_freep) TreeMounts *mounts = new0(TreeMounts, 1);
        if (!mounts)
                return -ENOMEM;
        mounts->trees = spec->trees;
        if (mkdirat(spec->trees, STAGE, 0700) < 0 && errno != EEXIST)
                return fault_set_errno(fault, -errno, "Can't make the directory %s", STAGE);
        int r = image_mounts_new(spec->trees, spec->images_by_loop, &mounts->images);
        if (r < 0)
                return r;
        OverlayFeatures features;
        r = overlay_mount_probe(spec->trees, &features, fault);
        if (r < 0)
                return r;
        mounts->has_overlay = features.available;
        mounts->by_options = spec->by_options || !features.layers_one_by_one;
        mounts->attached_layers = spec->attached_layers || spec->by_options || !features.detached_layers;
        *ret = TAKE_PTR(mounts);
        return 0;
}

TreeMounts *tree_mounts_free(TreeMounts *mounts) {
        if (!mounts)
                return NULL;
        image_mounts_free(mounts->images);
        return mfree(mounts);
}

/* ---- other ids ---- */

/* From then on numbers on the disk are seen as what the user namespace makes of them, and the other way
 * round for what is written: root of the namespace leaves files of user 0. */
static int mount_set_users(int fd, int users) {
        struct mount_attr attributes = { .attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t) users };
        return mount_setattr(fd, "", AT_EMPTY_PATH, &attributes, sizeof(attributes)) < 0 ? -errno : 0;
}

static int users_fault(int r, Fault *fault) {
        if (r == -EINVAL || r == -EOPNOTSUPP)
                return fault_set(fault, -EOPNOTSUPP,
                                 "The file system of the snapshots can't show files with other owners");
        return fault_set_errno(fault, r, "Can't mount the snapshot with other owners");
}

/* A copy of one mount with other ids, as a descriptor. */
static int clone_with_users(int directory, const char *path, int users) {
        int flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW;
        _cleanup_close_ int fd =
                open_tree(directory, path, (unsigned) (path[0] ? flags : flags | AT_EMPTY_PATH));
        if (fd < 0)
                return -errno;
        int r = mount_set_users(fd, users);
        return r < 0 ? r : TAKE_FD(fd);
}

static int attach(int fd, int directory, const char *path) {
        return move_mount(fd, "", directory, path, MOVE_MOUNT_F_EMPTY_PATH) < 0 ? -errno : 0;
}

/* ---- the layers ---- */

/* Up to the first tree that needs nothing below it. */
static size_t chain_length(const SnapshotLayer *layers, size_t count) {
        for (size_t i = 0; i < count; i++)
                if (snapshot_driver_get(layers[i].driver)->whole)
                        return i + 1;
        return count;
}

static int need_images(TreeMounts *mounts, const TreeMountSpec *spec, size_t count, bool *ret_any,
                       Fault *fault) {
        bool any = false;
        for (size_t i = 0; i < count; i++) {
                if (spec->layers[i].driver != DRIVER_EROFS)
                        continue;
                int r = image_mounts_need(mounts->images, spec->layers[i].id, fault);
                if (r < 0)
                        return r;
                any = true;
        }
        *ret_any = any;
        return 0;
}

/* The images of a chain, mounted once more in a stage whose ids are others. */
static int stage_images(const TreeMounts *mounts, const TreeMountSpec *spec, size_t count) {
        for (size_t i = 0; i < count; i++) {
                char path[TREE_PATH_SIZE];
                if (spec->layers[i].driver != DRIVER_EROFS)
                        continue;
                (void) image_mount_path(spec->layers[i].id, path);
                _cleanup_close_ int fd = clone_with_users(mounts->trees, path, spec->users);
                int r = fd < 0 ? fd : attach(fd, AT_FDCWD, path);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* Where the names of layers are looked up: the trees as they are, or a mount of them with other ids. Older
 * kernels take no layers from a mount that is attached nowhere. */
typedef struct Stage {
        int trees; /* -EBADF: nothing is attached */
        int mount; /* what is attached nowhere lives as long as this */
} Stage;

static void stage_leave(Stage *stage) {
        if (stage->trees >= 0 && fchdir(stage->trees) >= 0)
                (void) umount2(STAGE, MNT_DETACH | UMOUNT_NOFOLLOW);
        (void) !chdir("/");
        fd_close(stage->mount);
}

static int stage_enter(const TreeMounts *mounts, const TreeMountSpec *spec, size_t count, bool images,
                       Stage *stage, Fault *fault) {
        if (fchdir(mounts->trees) < 0)
                return fault_set_errno(fault, -errno, "Can't enter the directory of trees");
        if (spec->users < 0)
                return 0;
        int fd = stage->mount = clone_with_users(mounts->trees, "", spec->users);
        if (fd < 0)
                return users_fault(fd, fault);
        if (!mounts->attached_layers && !images)
                return fchdir(fd) < 0 ? fault_set_errno(fault, -errno, "Can't enter the mount of trees") : 0;
        int r = attach(fd, AT_FDCWD, STAGE);
        if (r < 0)
                return fault_set_errno(fault, r, "Can't attach the mount of trees");
        stage->trees = mounts->trees;
        if (chdir(STAGE) < 0)
                return fault_set_errno(fault, -errno, "Can't enter the mount of trees");
        r = stage_images(mounts, spec, count);
        return r < 0 ? users_fault(r, fault) : 0;
}

/* ---- mounting ---- */

/* A layer may hold any device node: whoever is handed a tree must not be able to open one. Containers get a
 * /dev of their own. */
static uint64_t mount_attributes(const TreeMountSpec *spec) {
        uint64_t attributes = MOUNT_ATTR_NODEV;
        if (spec->read_only || spec->upper.id == 0)
                attributes |= MOUNT_ATTR_RDONLY;
        if (spec->no_setuid)
                attributes |= MOUNT_ATTR_NOSUID;
        return attributes;
}

/* Whatever other flags the storage itself is mounted with are not the tree's. */
static int mount_directory(const TreeMounts *mounts, int64_t id, uint64_t set, int users, Fault *fault) {
        char path[TREE_PATH_SIZE];
        _cleanup_close_ int fd = open_tree(mounts->trees, tree_path(id, "fs", path),
                                           OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW);
        if (fd < 0)
                return fault_set_errno(fault, -errno, "Can't mount the snapshot");
        struct mount_attr attributes = {
                .attr_set = set,
                .attr_clr = (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC) & ~set,
                .propagation = MS_PRIVATE,
        };
        if (mount_setattr(fd, "", AT_EMPTY_PATH, &attributes, sizeof(attributes)) < 0)
                return fault_set_errno(fault, -errno, "Can't mount the snapshot");
        int r = users >= 0 ? mount_set_users(fd, users) : 0;
        return r < 0 ? users_fault(r, fault) : TAKE_FD(fd);
}

/* overlayfs makes what it needs beside the tree as whoever mounts, so that must be somebody whom the file
 * system can write down: root of the user namespace, who owns what on the disk root owns. */
static int become_root_of(const Stage *stage, Fault *fault) {
        struct stat st;
        if (fstat(stage->mount, &st) < 0)
                return fault_set_errno(fault, -errno, "Can't find out who root of the user namespace is");
        int r = fs_ids_set(st.st_uid, st.st_gid);
        if (r < 0)
                (void) fs_ids_set(0, 0);
        return r < 0 ? fault_set_errno(fault, r, "Can't become root of the user namespace") : 0;
}

static int mount_overlay(TreeMounts *mounts, const TreeMountSpec *spec, size_t count, Fault *fault) {
        _cleanup_(stage_leave) Stage stage = { .trees = -EBADF, .mount = -EBADF };
        bool images;
        int r = need_images(mounts, spec, count, &images, fault);
        if (r >= 0)
                r = stage_enter(mounts, spec, count, images, &stage, fault);
        if (r < 0)
                return r;
        const OverlayMount overlay = {
                .layers = spec->layers,
                .layer_count = count,
                .upper = spec->upper.id,
                .is_volatile = spec->is_volatile,
                .several_devices = images,
                .by_options = mounts->by_options,
                .begun = spec->users >= 0 ? -EBADF : spec->begun,
                .attributes = mount_attributes(spec),
        };
        if (spec->users >= 0 && spec->upper.id != 0) {
                r = become_root_of(&stage, fault);
                if (r < 0)
                        return r;
                r = overlay_mount(&overlay);
                (void) fs_ids_set(0, 0);
        } else
                r = overlay_mount(&overlay);
        if (r == -E2BIG)
                return fault_set(fault, -EDQUOT, "The snapshot has more layers than this kernel can mount");
        return r < 0 ? fault_set_errno(fault, r, "Can't mount the snapshot") : r;
}

int tree_mounts_begin(TreeMounts *mounts, const SnapshotLayer *layers, size_t count, Fault *fault) {
        const TreeMountSpec spec = { .layers = layers, .users = -EBADF };
        _cleanup_(stage_leave) Stage stage = { .trees = -EBADF, .mount = -EBADF };
        bool images;
        count = chain_length(layers, count);
        if (count < 2 || !mounts->has_overlay || mounts->by_options)
                return -EOPNOTSUPP;
        int r = need_images(mounts, &spec, count, &images, fault);
        if (r >= 0)
                r = stage_enter(mounts, &spec, count, images, &stage, fault);
        if (r < 0)
                return r;
        const OverlayMount overlay = { .layers = layers, .layer_count = count, .several_devices = images };
        r = overlay_mount_begin(&overlay);
        return r < 0 ? fault_set_errno(fault, r, "Can't begin to mount the snapshot") : r;
}

static int lock_flags(const TreeMounts *mounts, int mount, Fault *fault) {
        int fd = locked_mount_make(mount, mounts->trees, OVERLAY_MOUNT_POINT);
        return fd < 0 ? fault_set_errno(fault, fd, "Can't lock the flags of the mount") : fd;
}

/* What is only read is an overlay, too, even if it is of a single tree: its file system is read-only, and
 * nobody who is handed it can make it writable. */
int tree_mounts_mount(TreeMounts *mounts, const TreeMountSpec *spec, Fault *fault) {
        size_t count = chain_length(spec->layers, spec->layer_count);
        bool whole = spec->upper.id != 0 ? snapshot_driver_get(spec->upper.driver)->whole
                                         : count == 1 && !mounts->has_overlay;
        _cleanup_close_ int fd =
                whole ? mount_directory(mounts, spec->upper.id != 0 ? spec->upper.id : spec->layers[0].id,
                                        mount_attributes(spec), spec->users, fault)
                      : mount_overlay(mounts, spec, count, fault);
        if (fd < 0)
                return fd;
        return spec->no_setuid ? lock_flags(mounts, fd, fault) : TAKE_FD(fd);
}

int tree_mounts_mount_directory(const TreeMounts *mounts, int64_t id, Fault *fault) {
        return mount_directory(mounts, id, MOUNT_ATTR_NODEV, -EBADF, fault);
}

int tree_mounts_open_root(TreeMounts *mounts, SnapshotLayer layer, Fault *fault) {
        char path[TREE_PATH_SIZE];
        bool image = layer.driver == DRIVER_EROFS;
        int r = image ? image_mounts_need(mounts->images, layer.id, fault) : 0;
        if (r < 0)
                return r;
        int fd = path_open(mounts->trees,
                           image ? image_mount_path(layer.id, path) : tree_path(layer.id, "fs", path),
                           O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
        return fd < 0 ? fault_set_errno(fault, fd, "Can't open the tree of the parent") : fd;
}

int tree_mounts_open_merged(TreeMounts *mounts, const SnapshotLayer *layers, size_t count, Fault *fault) {
        assert(count > 0);
        if (snapshot_driver_get(layers[0].driver)->whole)
                return tree_mounts_open_root(mounts, layers[0], fault);
        const TreeMountSpec spec = {
                .layers = layers, .layer_count = count, .users = -EBADF, .begun = -EBADF
        };
        _cleanup_close_ int mount = tree_mounts_mount(mounts, &spec, fault);
        if (mount < 0)
                return mount;
        /* That of a mount can't be read from; an open directory keeps the file system as well. */
        int fd = path_open(mount, ".", O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
        return fd < 0 ? fault_set_errno(fault, fd, "Can't open the tree of the parent") : fd;
}

/* ---- what is in use ---- */

int tree_mounts_is_in_use(const TreeMounts *mounts, int64_t upper) {
        int r = fchdir(mounts->trees) < 0 ? -errno : overlay_mount_is_in_use(upper);
        (void) !chdir("/");
        return r;
}

/* overlayfs leaves this behind to refuse a second mount (Documentation/filesystems/overlayfs.rst, "Volatile
 * mount"). */
int tree_mounts_forgive_volatile(const TreeMounts *mounts, int64_t upper) {
        char path[TREE_PATH_SIZE];
        int r = path_remove_tree(mounts->trees, tree_path(upper, "work/work/incompat", path));
        return r == -ENOENT ? 0 : r;
}

void tree_mounts_release(TreeMounts *mounts, int64_t id) {
        image_mounts_drop(mounts->images, id);
}
