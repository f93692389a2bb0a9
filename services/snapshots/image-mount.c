/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/image-mount.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/path.h"
#include "services/snapshots/loop-device.h"

/* One is a kilobyte or so of the kernel's memory, and what the page cache holds of its directories. */
#define IMAGES_MAX 1024

typedef struct ImageMount {
        int64_t id;
        uint64_t used; /* when it was needed last, counted in needs */
} ImageMount;

struct ImageMounts {
        int trees; /* borrowed */
        bool by_loop;
        ImageSealOf seal_of; /* NULL: nobody knows */
        void *userdata;
        uint64_t needs;
        size_t count;
        ImageMount mounted[IMAGES_MAX]; /* in the order of their numbers */
};

#define IMAGES "images"

const char *image_mount_path(int64_t id, char buffer[TREE_PATH_SIZE]) {
        (void) snprintf(buffer, TREE_PATH_SIZE, IMAGES "/%" PRIi64, id);
        return buffer;
}

int image_mounts_new(int trees, bool by_loop, ImageMounts **ret) {
        /* What an earlier run has left is empty: its mounts went with its namespace. */
        int r = path_remove_tree(trees, IMAGES);
        if (r < 0)
                return r;
        if (mkdirat(trees, IMAGES, 0700) < 0)
                return -errno;
        ImageMounts *images = new0(ImageMounts, 1);
        if (!images)
                return -ENOMEM;
        images->trees = trees;
        images->by_loop = by_loop;
        *ret = images;
        return 0;
}

ImageMounts *image_mounts_free(ImageMounts *images) {
        return mfree(images);
}

void image_mounts_require(ImageMounts *images, ImageSealOf seal_of, void *userdata) {
        images->seal_of = seal_of;
        images->userdata = userdata;
}

/* Where it is, or belongs. */
static size_t find_place(const ImageMounts *images, int64_t id) {
        size_t from = 0, to = images->count;
        while (from < to) {
                size_t middle = (from + to) / 2;
                if (images->mounted[middle].id < id)
                        from = middle + 1;
                else
                        to = middle;
        }
        return from;
}

static bool is_at(const ImageMounts *images, size_t place, int64_t id) {
        return place < images->count && images->mounted[place].id == id;
}

/* ---- what an image must be ---- */

static int open_image(int trees, int64_t id, int *ret_tree) {
        char path[TREE_PATH_SIZE];
        _cleanup_close_ int tree =
                path_open(trees, tree_path(id, NULL, path), O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
        int file = tree < 0 ? tree : path_open(tree, IMAGE_FILE, O_RDONLY, 0, PATH_BENEATH);
        if (file >= 0 && ret_tree)
                *ret_tree = TAKE_FD(tree);
        return file;
}

int image_measure_seal(int trees, int64_t id, char ret[FILE_VERITY_SIZE]) {
        _cleanup_close_ int file = open_image(trees, id, NULL);
        return file == -ENOENT ? 0 : file < 0 ? file : file_verity_measure(file, ret);
}

/* What is written nowhere was written where there was no fs-verity. Beside the image it is where whoever can
 * put another one there can change it as well. */
static int check_seal(const ImageMounts *images, int64_t id, int tree, int file) {
        char seal[FILE_VERITY_SIZE];
        _cleanup_free_ char *note = NULL;
        int r = images->seal_of ? images->seal_of(id, seal, images->userdata) : 0;
        if (r != 0)
                return r < 0 ? r : file_verity_check(file, seal);
        r = fd_read_line_at(tree, IMAGE_VERITY, &note);
        return r == -ENOENT ? 0 : r < 0 ? r : file_verity_check(file, note);
}

/* ---- one mount ---- */

/* What was made from this mount, keeps what it needs of it. umount2() knows no directory descriptor. */
static void unmount(const ImageMounts *images, int64_t id) {
        char path[TREE_PATH_SIZE];
        if (fchdir(images->trees) >= 0)
                (void) umount2(image_mount_path(id, path), MNT_DETACH | UMOUNT_NOFOLLOW);
        (void) !chdir("/");
        (void) unlinkat(images->trees, image_mount_path(id, path), AT_REMOVEDIR);
}

static int mount_source(const char *source) {
        _cleanup_close_ int context = fsopen("erofs", FSOPEN_CLOEXEC);
        if (context < 0)
                return errno == ENODEV ? -EOPNOTSUPP : -errno;
        if (fsconfig(context, FSCONFIG_SET_STRING, "source", source, 0) < 0 ||
            fsconfig(context, FSCONFIG_SET_FLAG, "ro", NULL, 0) < 0 ||
            fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
                return -errno;
        int fd = fsmount(context, FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID);
        return fd < 0 ? -errno : fd;
}

/* The device is released by itself when the file system is, and that when nothing uses the mount any more.
 */
static int mount_by_loop(int file) {
        char path[LOOP_DEVICE_PATH_SIZE];
        _cleanup_close_ int device = loop_device_attach(file, path);
        return device < 0 ? device : mount_source(path);
}

static int no_erofs(Fault *fault) {
        return fault_set(fault, -EOPNOTSUPP, "The kernel does not have EROFS");
}

static int no_loop_devices(Fault *fault) {
        return fault_set(fault, -EOPNOTSUPP,
                         "The kernel mounts no EROFS image from a file here, and there are no loop devices");
}

/* Only the kernel knows whether it mounts files of this file system, and says so of one that is no image;
 * it notes in its log that it is none, so that it is asked only where there is no other way. */
static int probe_file(int trees, Fault *fault) {
        char path[FD_PROC_PATH_SIZE];
        _cleanup_close_ int file = openat(trees, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        if (file < 0 && (errno == ENOSPC || errno == EDQUOT)) /* which tells nothing of that */
                return 0;
        if (file < 0)
                return fault_set_errno(fault, -errno, "Can't find out whether EROFS images can be mounted");
        _cleanup_close_ int fd = mount_source(fd_proc_path(file, path));
        return fd == -ENOTBLK ? no_loop_devices(fault) : 0;
}

int image_mount_probe(int trees, Fault *fault) {
        _cleanup_close_ int context = fsopen("erofs", FSOPEN_CLOEXEC);
        if (context < 0 && errno == ENODEV)
                return no_erofs(fault);
        if (context < 0)
                return fault_set_errno(fault, -errno, "Can't find out whether the kernel has EROFS");
        return loop_device_is_known() ? 0 : probe_file(trees, fault);
}

static int mount_image(ImageMounts *images, int file) {
        char path[FD_PROC_PATH_SIZE];
        int r = images->by_loop ? -ENOTBLK : mount_source(fd_proc_path(file, path));
        if (r != -ENOTBLK)
                return r;
        images->by_loop = true; /* Linux before 6.12, or one that was built without */
        return mount_by_loop(file);
}

static int image_mount(ImageMounts *images, int64_t id, Fault *fault) {
        char path[TREE_PATH_SIZE];
        _cleanup_close_ int tree = -EBADF;
        _cleanup_close_ int file = open_image(images->trees, id, &tree);
        if (file < 0)
                return fault_set_errno(fault, file, "Can't open the image of a layer");
        int r = check_seal(images, id, tree, file);
        if (r == -EUCLEAN)
                return fault_set(fault, r, "The image of a layer was changed since it was written");
        if (r < 0)
                return fault_set_errno(fault, r, "Can't check the image of a layer");
        _cleanup_close_ int fd = mount_image(images, file);
        if (fd == -EOPNOTSUPP)
                return no_erofs(fault);
        if (fd == -ENXIO)
                return no_loop_devices(fault);
        if (fd < 0)
                return fault_set_errno(fault, fd, "Can't mount the image of a layer");
        (void) image_mount_path(id, path);
        if ((mkdirat(images->trees, path, 0755) < 0 && errno != EEXIST) ||
            move_mount(fd, "", images->trees, path, MOVE_MOUNT_F_EMPTY_PATH) < 0)
                return fault_set_errno(fault, -errno, "Can't attach the image of a layer");
        return 0;
}

/* ---- many ---- */

static void forget(ImageMounts *images, size_t place) {
        unmount(images, images->mounted[place].id);
        images->count--;
        memmove(&images->mounted[place], &images->mounted[place + 1],
                (images->count - place) * sizeof(*images->mounted));
}

/* Whatever one chain needs was needed after all that others did: no chain is as long as this table. */
static void make_room(ImageMounts *images) {
        size_t oldest = 0;
        if (images->count < IMAGES_MAX)
                return;
        for (size_t i = 1; i < images->count; i++)
                if (images->mounted[i].used < images->mounted[oldest].used)
                        oldest = i;
        forget(images, oldest);
}

int image_mounts_need(ImageMounts *images, int64_t id, Fault *fault) {
        images->needs++;
        size_t place = find_place(images, id);
        if (!is_at(images, place, id)) {
                int r = image_mount(images, id, fault);
                if (r < 0)
                        return r;
                make_room(images);
                place = find_place(images, id);
                memmove(&images->mounted[place + 1], &images->mounted[place],
                        (images->count - place) * sizeof(*images->mounted));
                images->mounted[place].id = id;
                images->count++;
        }
        images->mounted[place].used = images->needs;
        return 0;
}

void image_mounts_drop(ImageMounts *images, int64_t id) {
        size_t place = find_place(images, id);
        if (is_at(images, place, id))
                forget(images, place);
}
