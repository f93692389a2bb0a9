/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A directory that can be read only in part is not taken for one that ends there: by none who hides, moves,
 * deletes or counts what is in it. */

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/path.h"
#include "services/snapshots/directory-stream.h"
#include "services/snapshots/trash.h"
#include "services/snapshots/tree-finish.h"
#include "services/snapshots/tree-hide.h"
#include "services/snapshots/tree-store.h"
#include "tests/unit/check-directory.h"
#include "tests/unit/check.h"

#define NAMES 8

/* ---- a disk that fails in the middle of one directory ---- */

static struct stat failing; /* st_ino 0: none */
static unsigned readable;   /* names of it that are told before that */

/* In the place of the C library's. */
struct dirent *readdir(DIR *stream) {
        struct stat st;
        struct dirent *(*real)(DIR * stream);
        *(void **) &real = dlsym(RTLD_NEXT, sizeof(off_t) == sizeof(long) ? "readdir" : "readdir64");
        if (failing.st_ino != 0 && fstat(dirfd(stream), &st) == 0 && st.st_ino == failing.st_ino &&
            st.st_dev == failing.st_dev && readable-- == 0) {
                readable = 0;
                errno = EIO;
                return NULL;
        }
        return real(stream);
}

static void fail_in(int directory, unsigned after) {
        CHECK(fstat(directory, &failing) == 0);
        readable = after;
}

static void fail_no_more(void) {
        failing.st_ino = 0;
}

/* ---- trees ---- */

static int directory_at(int top, const char *name) {
        int fd = path_make_directories(top, name, 0755, PATH_BENEATH);
        CHECK(fd >= 0);
        fd_close(fd);
        return path_open(top, name, O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
}

static int case_directory(void) {
        _cleanup_close_ int top = check_directory();
        fail_no_more();
        CHECK(path_remove_tree(top, "case") >= 0 || errno == ENOENT);
        return directory_at(top, "case");
}

static void make_names(int directory) {
        for (int i = 1; i <= NAMES; i++) {
                char name[16];
                (void) snprintf(name, sizeof(name), "%i", i);
                check_directory_write(directory, name, "x");
        }
}

static void an_error_is_not_the_end(void) {
        _cleanup_close_ int at = case_directory();
        make_names(at);
        int names = 0, r;
        const char *name;
        fail_in(at, 5);
        DIR *stream = fdopendir(openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        while ((r = directory_stream_next(stream, &name)) > 0)
                names++;
        CHECK_ERROR(r, -EIO);
        CHECK(names >= 3 && names <= 5);
        (void) closedir(stream);
        fail_no_more();
        stream = fdopendir(openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        for (names = 0; (r = directory_stream_next(stream, &name)) > 0; names++)
                CHECK(strcmp(name, ".") != 0 && strcmp(name, "..") != 0);
        CHECK_INT(r, 0);
        CHECK_INT(names, NAMES);
        (void) closedir(stream);
}

static bool is_whiteout(int directory, const char *name) {
        struct stat st;
        return fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISCHR(st.st_mode) &&
               st.st_rdev == makedev(0, 0);
}

static void no_root_hides_only_a_part(void) {
        if (geteuid() != 0)
                check_skip("whiteouts need root");
        _cleanup_close_ int at = case_directory(), root = directory_at(at, "root"),
                            below = directory_at(at, "below");
        make_names(below);
        fail_in(below, 5);
        CHECK_ERROR(tree_hide(root, below), -EIO);
        fail_in(root, 1);
        CHECK_ERROR(tree_hide(root, below), -EIO);
        fail_no_more();
        CHECK_OK(tree_hide(root, below));
        CHECK(is_whiteout(root, "1") && is_whiteout(root, "8"));
}

static void what_is_below_a_link_moves_as_a_whole(void) {
        _cleanup_close_ int at = case_directory(), trees = directory_at(at, "trees"),
                            tree = directory_at(at, "trees/7"), lib = directory_at(at, "trees/7/fs/lib"),
                            parent = directory_at(at, "parent");
        make_names(lib);
        fd_close(directory_at(parent, "usr/lib"));
        CHECK(symlinkat("usr/lib", parent, "lib") == 0);
        int notes = openat(tree, "notes", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        CHECK_OK(fd_write_all(notes, "r\0ilib", sizeof("r\0ilib")));
        fd_close(notes);
        fail_in(lib, 5);
        CHECK_ERROR(tree_finish(trees, 7, parent, 5, NULL), -EIO);
        fail_no_more();
        CHECK_OK(tree_finish(trees, 7, parent, 5, NULL));
        for (int i = 1; i <= NAMES; i++) {
                char path[32];
                (void) snprintf(path, sizeof(path), "fs/usr/lib/%i", i);
                CHECK_OK(faccessat(tree, path, F_OK, 0));
        }
}

static void trash_that_can_not_be_read_is_not_empty(void) {
        _cleanup_close_ int at = case_directory(), trash = directory_at(at, "trash"),
                            tree = directory_at(at, "trash/tree");
        TrashEmptied emptied;
        make_names(tree);
        fail_in(trash, 0);
        CHECK_ERROR(trash_empty(trash, &emptied, NULL), -EIO);
        fail_in(tree, 0);
        CHECK_ERROR(trash_empty(trash, &emptied, NULL), -EIO);
        CHECK_OK(faccessat(tree, "1", F_OK, 0));
        fail_no_more();
        CHECK_OK(trash_empty(trash, &emptied, NULL));
        CHECK_INT(emptied.inodes, NAMES + 1);
}

static int count(int64_t id, void *userdata) {
        unsigned *numbers = userdata;
        (*numbers)++;
        return 0;
}

/* A tree that is not seen is taken for lost. */
static void trees_are_counted_all_or_not_at_all(void) {
        _cleanup_close_ int state = case_directory();
        TreeStore store;
        unsigned numbers = 0;
        CHECK_OK(tree_store_open(state, &store, NULL));
        make_names(store.trees);
        fail_in(store.trees, 5);
        CHECK_ERROR(tree_store_visit(&store, count, &numbers), -EIO);
        fail_in(store.trash, 0);
        CHECK(tree_store_has_trash(&store));
        fail_no_more();
        numbers = 0;
        CHECK_OK(tree_store_visit(&store, count, &numbers));
        CHECK_INT(numbers, NAMES);
        CHECK(!tree_store_has_trash(&store));
        tree_store_done(&store);
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(an_error_is_not_the_end),
                CHECK_CASE(no_root_hides_only_a_part),
                CHECK_CASE(what_is_below_a_link_moves_as_a_whole),
                CHECK_CASE(trash_that_can_not_be_read_is_not_empty),
                CHECK_CASE(trees_are_counted_all_or_not_at_all),
                {},
        });
}
