/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/path.h"
#include "lib/strv.h"
#include "services/snapshots/erofs-image.h"
#include "services/snapshots/erofs-inode.h"
#include "services/snapshots/snapshot-driver.h"
#include "services/snapshots/tree-argument.h"
#include "services/snapshots/tree-copy.h"
#include "services/snapshots/user-namespace.h"
#include "tests/unit/check-directory.h"
#include "tests/unit/check-fault.h"
#include "tests/unit/check.h"

static int fresh_directory(const char *name) {
        _cleanup_close_ int top = check_directory();
        CHECK_OK(path_remove_tree(top, name));
        CHECK(mkdirat(top, name, 0755) == 0);
        return path_open(top, name, O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
}

/* Files, links of both kinds, a hole, a pipe, a directory. */
static int sample_tree(const char *name) {
        const struct timespec times[2] = { { .tv_sec = 5, .tv_nsec = 6 }, { .tv_sec = 7, .tv_nsec = 8 } };
        int tree = fresh_directory(name);
        CHECK(mkdirat(tree, "d", 0755) == 0 && mkdirat(tree, "d/empty", 0700) == 0);
        check_directory_write(tree, "d/file", "contents");
        CHECK(linkat(tree, "d/file", tree, "other name", 0) == 0);
        CHECK(symlinkat("d/file", tree, "link") == 0);
        CHECK(mknodat(tree, "pipe", S_IFIFO | 0640, 0) == 0);
        _cleanup_close_ int hole = openat(tree, "hole", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        CHECK(pwrite(hole, "end", 3, 1000000) == 3);
        static const char *const names[] = { "d/empty", "d/file", "d", "link", "pipe", "hole", "." };
        for (size_t i = 0; i < ELEMENTS_OF(names); i++)
                CHECK(utimensat(tree, names[i], times, AT_SYMLINK_NOFOLLOW) == 0);
        return tree;
}

static struct stat look(int tree, const char *name) {
        struct stat st;
        CHECK(fstatat(tree, name, &st, AT_SYMLINK_NOFOLLOW) == 0);
        return st;
}

static void arguments_of_the_worker_come_back(void) {
        const TreeArgument argument = {
                .id = 12, .driver = DRIVER_COPY, .parent = 7, .parent_id = INT64_MAX, .mounted = true
        };
        _cleanup_strv_ char **list = NULL;
        TreeArgument found;
        CHECK_OK(tree_argument_append(&list, &argument));
        CHECK_STRING(list[0], "copy:12:7:9223372036854775807:1");
        CHECK_OK(tree_argument_parse(list[0], &found));
        CHECK(found.id == 12 && found.driver == DRIVER_COPY && found.parent == 7 && found.mounted);
        CHECK(found.parent_id == INT64_MAX);
        static const char *const wrong[] = { "",
                                             "copy",
                                             "copy:1:0:0",
                                             "zfs:1:0:0:0",
                                             "copy:0:0:0:0",
                                             "copy:1:0:0:2",
                                             "copy:1:0:0:0:0",
                                             "copy:-1:0:0:0",
                                             "copy:1:x:0:0" };
        for (size_t i = 0; i < ELEMENTS_OF(wrong); i++)
                CHECK_INT(tree_argument_parse(wrong[i], &found), -EINVAL);
}

static void drivers_have_names(void) {
        for (SnapshotDriverKind kind = 0; kind < _SNAPSHOT_DRIVER_KIND_MAX; kind++)
                CHECK_INT(snapshot_driver_kind_from_string(snapshot_driver_kind_to_string(kind)), kind);
        CHECK_INT(snapshot_driver_kind_from_string("zfs"), -EINVAL);
        CHECK_INT(snapshot_driver_kind_from_string(""), -EINVAL);
}

static void a_copy_is_the_same(void) {
        _cleanup_close_ int from = sample_tree("from"), to = fresh_directory("to");
        const TreeCopy copy = { .from = from, .to = to };
        CHECK_NO_FAULT(tree_copy(&copy, &fault));
        static const char *const names[] = { ".",          "d",    "d/empty", "d/file",
                                             "other name", "link", "pipe",    "hole" };
        for (size_t i = 0; i < ELEMENTS_OF(names); i++) {
                struct stat a = look(from, names[i]), b = look(to, names[i]);
                CHECK_INT(b.st_mode, a.st_mode);
                CHECK_INT(b.st_nlink, a.st_nlink);
                CHECK_INT(b.st_mtim.tv_sec, 7);
                CHECK_INT(b.st_mtim.tv_nsec, 8);
                if (!S_ISDIR(a.st_mode))
                        CHECK_INT(b.st_size, a.st_size);
        }
        CHECK_INT(look(to, "d/file").st_ino, look(to, "other name").st_ino);
        CHECK(look(to, "d/file").st_ino != look(from, "d/file").st_ino);
        CHECK(look(to, "hole").st_blocks < 100);
}

static void a_linked_copy_has_the_same_files(void) {
        _cleanup_close_ int from = sample_tree("from"), to = fresh_directory("to");
        const TreeCopy copy = { .from = from, .to = to, .apply = true, .link = true };
        check_directory_write(to, "link", "in the way");
        CHECK(mkdirat(to, "hole", 0755) == 0 && mkdirat(to, "hole/deep", 0755) == 0);
        CHECK_NO_FAULT(tree_copy(&copy, &fault));
        CHECK_INT(look(to, "d/file").st_ino, look(from, "d/file").st_ino);
        CHECK(S_ISLNK(look(to, "link").st_mode) && S_ISREG(look(to, "hole").st_mode));
}

static void what_is_too_deep_is_refused(void) {
        _cleanup_close_ int from = fresh_directory("from"), to = fresh_directory("to");
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        int here = fd_duplicate(from);
        for (unsigned i = 0; i < 4100; i++) {
                CHECK(mkdirat(here, "d", 0755) == 0);
                int below = openat(here, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                fd_close(here);
                here = below;
        }
        fd_close(here);
        const TreeCopy copy = { .from = from, .to = to };
        int r = tree_copy(&copy, &fault);
        CHECK(r == -EDQUOT || r == -EMFILE);
}

static int write_image(int tree, const char *name, char **ret, size_t *ret_size) {
        _cleanup_close_ int top = check_directory();
        (void) unlinkat(top, name, 0);
        _cleanup_close_ int image = openat(top, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        CHECK_NO_FAULT(erofs_image_write(tree, image, &fault));
        CHECK(lseek(image, 0, SEEK_SET) == 0);
        return fd_read_all(image, (size_t) 64 << 20, ret, ret_size);
}

static void an_image_depends_on_nothing_but_the_tree(void) {
        _cleanup_close_ int one = sample_tree("one"), two = sample_tree("two");
        _cleanup_free_ char *first = NULL, *second = NULL;
        size_t first_size, second_size;
        CHECK_OK(write_image(one, "image", &first, &first_size));
        CHECK_OK(write_image(two, "image", &second, &second_size));
        CHECK_INT(first_size, second_size);
        CHECK(memcmp(first, second, first_size) == 0);
        CHECK_INT(first_size % EROFS_BLOCK, 0);
        CHECK(memcmp(first + 1024, "\xe2\xe1\xf5\xe0", 4) == 0);
        check_directory_write(two, "d/file", "Contents");
        free(TAKE_PTR(second));
        CHECK_OK(write_image(two, "image", &second, &second_size));
        CHECK(memcmp(first, second, first_size) != 0);
}

static uint32_t number_at(const char *image, size_t offset) {
        uint32_t value;
        memcpy(&value, image + offset, sizeof(value));
        return le32toh(value);
}

/* Much of nothing, with something in it; and small holes, which stay zeros. */
static void an_image_has_no_room_for_holes(void) {
        _cleanup_close_ int tree = fresh_directory("holes");
        _cleanup_free_ char *image = NULL;
        size_t size;
        _cleanup_close_ int large = openat(tree, "large", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        CHECK(ftruncate(large, (off_t) 1 << 34) == 0 && pwrite(large, "data", 4, (off_t) 1 << 33) == 4);
        _cleanup_close_ int nothing = openat(tree, "nothing", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        CHECK(ftruncate(nothing, 1 << 20) == 0);
        CHECK_OK(write_image(tree, "image", &image, &size));
        CHECK_INT(number_at(image, 1024 + 80), 4); /* the kernel must know of chunks */
        CHECK_FORMAT(size < 5 << 20, "%zu bytes", size);
        CHECK_INT(unlinkat(tree, "large", 0), 0);
        free(TAKE_PTR(image));
        CHECK_OK(write_image(tree, "image", &image, &size));
        CHECK_INT(number_at(image, 1024 + 80), 4);
        CHECK_FORMAT(size <= 4 * EROFS_BLOCK, "%zu bytes", size);
        CHECK_INT(ftruncate(nothing, 60 << 10), 0);
        CHECK_INT(unlinkat(tree, "nothing", 0), 0);
        check_directory_write(tree, "small", "dense");
        free(TAKE_PTR(image));
        CHECK_OK(write_image(tree, "image", &image, &size));
        CHECK_INT(number_at(image, 1024 + 80), 0);
}

static void users_have_only_their_own_numbers(void) {
        UserMapRange own = { .inside = 0, .outside = 54321, .count = 1 };
        UserMapRange others = { .inside = 0, .outside = 54322, .count = 1 };
        UserMapRange many = { .inside = 0, .outside = 54321, .count = 2 };
        const UserMap nothing = { 0 };
        const UserMap maps[] = { { &own, 1 }, { &others, 1 }, { &many, 1 } };
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        CHECK_OK(user_map_check(&maps[0], &nothing, 54321, NULL));
        for (size_t i = 1; i < ELEMENTS_OF(maps); i++)
                CHECK_INT(user_map_check(&maps[i], &nothing, 54321, &fault), -EACCES);
        /* Who has no entry in the table of users has no group. */
        CHECK_INT(user_map_check(&maps[0], &maps[0], 54321, &fault), -EACCES);
        CHECK_INT(user_namespace_check(STDIN_FILENO, 54321, &fault), -EINVAL);
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(arguments_of_the_worker_come_back),
                CHECK_CASE(drivers_have_names),
                CHECK_CASE(a_copy_is_the_same),
                CHECK_CASE(a_linked_copy_has_the_same_files),
                CHECK_CASE(what_is_too_deep_is_refused),
                CHECK_CASE(an_image_depends_on_nothing_but_the_tree),
                CHECK_CASE(an_image_has_no_room_for_holes),
                CHECK_CASE(users_have_only_their_own_numbers),
                {},
        });
}
