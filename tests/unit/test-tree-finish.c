/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the parent that a layer is put on says about its directories, and where those go that it has as
 * symbolic links. */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/path.h"
#include "services/snapshots/tree-finish.h"
#include "tests/unit/check-directory.h"
#include "tests/unit/check.h"

#define ID 7
#define PARENT 5
#define DEPTH 2000
#define IMPLIED 2000

typedef struct Case {
        int files, parent, trees;
        char *notes; /* with '\n' for the ends */
} Case;

static void case_done(Case *test) {
        fd_close(test->files);
        fd_close(test->parent);
        fd_close(test->trees);
        free(test->notes);
}

static int directory_at(int top, const char *name) {
        int fd = path_make_directories(top, name, 0755, PATH_BENEATH);
        CHECK(fd >= 0);
        fd_close(fd);
        return path_open(top, name, O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
}

static Case case_make(const char *notes) {
        _cleanup_close_ int top = check_directory();
        CHECK(path_remove_tree(top, "case") >= 0 || errno == ENOENT);
        Case test = {
                .trees = directory_at(top, "case/trees"),
                .files = directory_at(top, "case/trees/7/fs"),
                .parent = directory_at(top, "case/parent"),
                .notes = strdup(notes),
        };
        CHECK(test.notes);
        return test;
}

static void make_file(int tree, const char *directory, const char *name) {
        _cleanup_close_ int fd = directory_at(tree, directory);
        check_directory_write(fd, name, "x");
}

static void make_link(int tree, const char *target, const char *path) {
        CHECK(symlinkat(target, tree, path) == 0);
}

static void write_notes(Case *test, int fd) {
        size_t size = strlen(test->notes);
        for (char *p = test->notes; *p; p++)
                if (*p == '\n')
                        *p = '\0';
        CHECK_OK(fd_write_all(fd, test->notes, size));
}

static int case_finish(Case *test, Fault *fault) {
        int fd = openat(test->trees, "7/notes", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd >= 0)
                write_notes(test, fd);
        fd_close(fd);
        return tree_finish(test->trees, ID, test->parent, PARENT, fault);
}

static void check_finish(Case *test) {
        _cleanup_(fault_done) Fault fault = { 0 };
        int r = case_finish(test, &fault);
        CHECK_FORMAT(r >= 0, "%s", fault_text(&fault, r));
}

static bool has(const Case *test, const char *path) {
        return faccessat(test->files, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static mode_t mode_of(const Case *test, const char *path) {
        struct stat st;
        CHECK(fstatat(test->files, path, &st, AT_SYMLINK_NOFOLLOW) == 0);
        return st.st_mode & 07777;
}

/* lib is a link to usr/lib, with a link out of it and a directory that has a mode of its own. */
static Case case_with_links(const char *notes) {
        Case test = case_make(notes);
        fd_close(directory_at(test.parent, "usr/lib/sec"));
        fd_close(directory_at(test.parent, "etc"));
        CHECK(fchmodat(test.parent, "usr/lib/sec", 0700, 0) == 0);
        make_link(test.parent, "usr/lib", "lib");
        make_link(test.parent, "../../etc", "usr/lib/a");
        return test;
}

static void links_are_followed_where_the_layer_says_nothing(void) {
        _cleanup_(case_done) Case test = case_with_links("r\nilib\nilib/sec\nilib/a\n");
        make_file(test.files, "lib/a", "file");
        make_file(test.files, "lib/sec", "file");
        check_finish(&test);
        CHECK(has(&test, "etc/file") && has(&test, "usr/lib/sec/file") && !has(&test, "lib"));
        CHECK_INT(mode_of(&test, "usr/lib/sec"), 0700);
}

static void nothing_is_followed_below_a_link_that_the_layer_replaced(void) {
        _cleanup_(case_done) Case test = case_with_links("r\nilib/sec\nilib/a\nilib/a/deep\n");
        make_file(test.files, "lib/a/deep", "file");
        make_file(test.files, "lib/sec", "file");
        check_finish(&test);
        CHECK(has(&test, "lib/a/deep/file") && has(&test, "lib/sec/file"));
        CHECK(!has(&test, "etc") && !has(&test, "usr"));
        CHECK_INT(mode_of(&test, "lib/a"), 0755);
        CHECK_INT(mode_of(&test, "lib/sec"), 0755);
}

static void a_link_below_a_followed_one_may_be_replaced(void) {
        _cleanup_(case_done) Case test = case_with_links("r\nilib\nilib/a/b\n");
        fd_close(directory_at(test.parent, "etc/b"));
        CHECK(fchmodat(test.parent, "etc/b", 0700, 0) == 0);
        make_file(test.files, "lib/a/b", "file");
        check_finish(&test);
        CHECK(has(&test, "usr/lib/a/b/file") && !has(&test, "etc") && !has(&test, "lib"));
        CHECK_INT(mode_of(&test, "usr/lib/a/b"), 0755);
}

static void what_is_replaced_where_a_link_leads_is_not_followed(void) {
        _cleanup_(case_done) Case test = case_with_links("r\niusr\niusr/lib\nilib\nilib/a\nik\n");
        make_link(test.parent, "lib/a/more", "k");
        make_file(test.files, "usr/lib/a", "one"); /* usr/lib/a is described */
        make_file(test.files, "lib/a", "two");
        make_file(test.files, "k", "three");
        check_finish(&test);
        CHECK(has(&test, "usr/lib/a/one") && has(&test, "usr/lib/a/two") &&
              has(&test, "usr/lib/a/more/three"));
        CHECK(!has(&test, "etc") && !has(&test, "lib") && !has(&test, "k"));
}

static void a_link_that_the_layer_has_as_well_is_followed(void) {
        _cleanup_(case_done) Case test = case_with_links("r\niusr\niusr/lib\nik\n");
        make_link(test.parent, "lib/a", "k");
        fd_close(directory_at(test.files, "usr/lib"));
        make_link(test.files, "../../etc", "usr/lib/a");
        make_file(test.files, "k", "file");
        check_finish(&test);
        CHECK(has(&test, "etc/file") && has(&test, "usr/lib/a") && !has(&test, "k"));
}

static void a_way_through_another_link_of_the_layer_is_refused(void) {
        _cleanup_(case_done) Case test = case_with_links("r\niusr\niusr/lib\nik\n");
        _cleanup_(fault_done) Fault fault = { 0 };
        make_link(test.parent, "lib/a", "k");
        fd_close(directory_at(test.files, "usr/lib"));
        make_link(test.files, "elsewhere", "usr/lib/a");
        make_file(test.files, "k", "file");
        CHECK_ERROR(case_finish(&test, &fault), -EBADMSG);
        CHECK(has(&test, "k/file"));
}

static void what_was_begun_on_one_parent_is_not_put_on_another(void) {
        _cleanup_(case_done) Case test = case_with_links("r\nilib\n");
        _cleanup_(fault_done) Fault fault = { 0 };
        fd_close(directory_at(test.files, "lib"));
        check_directory_write(test.files, "lib/file", "x");
        check_finish(&test);
        CHECK(has(&test, "usr/lib/file"));
        CHECK_OK(tree_finish(test.trees, ID, test.parent, PARENT, NULL));
        CHECK_ERROR(tree_finish(test.trees, ID, test.parent, PARENT + 1, &fault), -EBUSY);
        CHECK(strstr(fault.text, "unpack it again"));
        CHECK_ERROR(tree_finish(test.trees, ID, -EBADF, 0, NULL), -EBUSY);
        CHECK_OK(tree_finish(test.trees, ID, test.parent, PARENT, NULL));
}

/* ---- a commit that failed, repeated elsewhere ---- */

#define BEFORE "user.before"

static int open_in(const Case *test, const char *path) {
        int fd = path_open(test->files, path, O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
        CHECK(fd >= 0);
        return fd;
}

/* A parent as the first one is, and nothing of which may be seen afterwards. */
static void finish_on_another_first(Case *test, const char *const directories[]) {
        _cleanup_close_ int top = check_directory(), other = directory_at(top, "case/first");
        for (; *directories; directories++) {
                _cleanup_close_ int fd = directory_at(other, *directories);
                CHECK(fchmod(fd, 02700) == 0 &&
                      futimens(fd, (const struct timespec[2]){ { 5 }, { 5 } }) == 0);
                CHECK(geteuid() != 0 || fchown(fd, 17, 18) == 0);
                CHECK(fsetxattr(fd, BEFORE, "x", 1, 0) == 0 || errno == EOPNOTSUPP);
        }
        int parent = test->parent;
        test->parent = other;
        check_finish(test);
        test->parent = parent;
}

static void check_attributes(const Case *test, const char *path, mode_t mode, time_t time) {
        struct stat st;
        _cleanup_close_ int fd = open_in(test, path);
        CHECK(fstat(fd, &st) == 0);
        CHECK_INT(st.st_mode & 07777, mode);
        CHECK(geteuid() != 0 || (st.st_uid == 0 && st.st_gid == 0));
        CHECK_INT(st.st_mtim.tv_sec, time);
        CHECK(fgetxattr(fd, BEFORE, NULL, 0) < 0);
}

static void nothing_stays_of_a_parent_that_it_was_tried_on(void) {
        _cleanup_(case_done) Case test = case_make("ia\nia/b\nic\n");
        struct stat notes;
        make_file(test.files, "a/b", "file");
        make_file(test.files, "c", "file");
        finish_on_another_first(&test, (const char *const[]){ "a/b", "a", "c", ".", NULL });
        CHECK_INT(mode_of(&test, "a/b"), 02700);
        CHECK_INT(mode_of(&test, "."), 02700);

        _cleanup_close_ int a = directory_at(test.parent, "a");
        CHECK(fchmod(a, 0711) == 0 && futimens(a, (const struct timespec[2]){ { 7 }, { 7 } }) == 0);
        CHECK(fchmod(test.parent, 0751) == 0);
        CHECK(futimens(test.parent, (const struct timespec[2]){ { 9 }, { 9 } }) == 0);
        CHECK_OK(tree_finish(test.trees, ID, test.parent, PARENT + 1, NULL));
        CHECK(fstatat(test.trees, "7/notes", &notes, 0) == 0);
        check_attributes(&test, "a", 0711, 7);
        check_attributes(&test, "a/b", 0755, notes.st_mtim.tv_sec);
        check_attributes(&test, "c", 0755, notes.st_mtim.tv_sec);
        check_attributes(&test, ".", 0751, 9);

        finish_on_another_first(&test, (const char *const[]){ "a/b", "a", "c", ".", NULL });
        CHECK_OK(tree_finish(test.trees, ID, -EBADF, 0, NULL));
        CHECK(fstatat(test.trees, "7/notes", &notes, 0) == 0);
        check_attributes(&test, "a", 0755, notes.st_mtim.tv_sec);
        check_attributes(&test, ".", 0755, notes.st_mtim.tv_sec);
}

static void nothing_is_hidden_for_a_parent_that_it_was_tried_on(void) {
        if (geteuid() != 0)
                check_skip("whiteouts need root");
        _cleanup_(case_done) Case test = case_make("r\no\n");
        make_file(test.files, "both", "file");
        finish_on_another_first(&test, (const char *const[]){ "both", "first", NULL });
        CHECK(has(&test, "first") && has(&test, "both/file"));
        fd_close(directory_at(test.parent, "second"));
        CHECK_OK(tree_finish(test.trees, ID, test.parent, PARENT + 1, NULL));
        CHECK(!has(&test, "first") && has(&test, "second") && has(&test, "both/file"));
        CHECK_OK(tree_finish(test.trees, ID, -EBADF, 0, NULL));
        CHECK(!has(&test, "first") && !has(&test, "second") && has(&test, "both/file"));
}

static void what_a_killed_one_left_goes(void) {
        _cleanup_(case_done) Case test = case_with_links("r\nilib\n");
        make_file(test.files, "lib", "file");
        CHECK(mkdirat(test.trees, "7/made", 0700) == 0);
        check_finish(&test);
        CHECK(has(&test, "usr/lib/file"));
        CHECK(faccessat(test.trees, "7/made", F_OK, 0) < 0 && errno == ENOENT);
        CHECK(mkdirat(test.trees, "7/made", 0700) == 0);
        CHECK_OK(tree_finish(test.trees, ID, test.parent, PARENT, NULL));
        CHECK(faccessat(test.trees, "7/made", F_OK, 0) < 0 && errno == ENOENT);
}

/* ---- what it may cost ---- */

/* A chain of directories that are called "a". */
static void make_chain(int tree, char path[2 * DEPTH]) {
        int at = path_open(tree, ".", O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
        for (size_t i = 0; i < DEPTH; i++) {
                CHECK(mkdirat(at, "a", 0755) == 0);
                int next = path_open(at, "a", O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
                fd_close(at);
                at = next;
                memcpy(path + 2 * i, "a/", 2);
        }
        fd_close(at);
        path[2 * DEPTH - 1] = '\0';
}

static void check_refused(Case *test) {
        _cleanup_(fault_done) Fault fault = { 0 };
        CHECK_ERROR(case_finish(test, &fault), -EBADMSG);
        CHECK(fault.text);
        CHECK(has(test, "l/x0"));
}

static void long_ways_through_many_links_are_refused(void) {
        _cleanup_(case_done) Case test = case_make("r\nil\nil/x0\n");
        static char chain[2 * DEPTH], target[PATH_MAX], name[16], next[16];
        make_chain(test.parent, chain);
        for (unsigned i = 0; i < 38; i++) {
                (void) snprintf(name, sizeof(name), i > 0 ? "l%u" : "l", i);
                (void) snprintf(next, sizeof(next), "l%u", i + 1);
                /* Down, and up again by as much as there is room for in a link. */
                (void) snprintf(target, sizeof(target), "/%.*s", 2 * (DEPTH / 3), chain);
                size_t length = strlen(target);
                for (unsigned up = 0; up < DEPTH / 3; up++, length += 3)
                        memcpy(target + length, "../", 3);
                (void) snprintf(target + length, sizeof(target) - length, "%s", i < 37 ? next : "a");
                make_link(test.parent, target, name);
        }
        fd_close(directory_at(test.files, "l/x0"));
        check_refused(&test);
}

static void many_directories_below_a_long_way_are_refused(void) {
        _cleanup_(case_done) Case test = case_make("r\nil\n");
        static char chain[2 * DEPTH], path[16];
        make_chain(test.parent, chain);
        make_link(test.parent, chain, "l");
        for (unsigned i = 0; i < IMPLIED; i++) {
                (void) snprintf(path, sizeof(path), "l/x%u", i);
                fd_close(directory_at(test.files, path));
                char *more = NULL;
                CHECK(asprintf(&more, "%si%s\n", test.notes, path) > 0);
                free(test.notes);
                test.notes = more;
        }
        check_refused(&test);
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(links_are_followed_where_the_layer_says_nothing),
                CHECK_CASE(nothing_is_followed_below_a_link_that_the_layer_replaced),
                CHECK_CASE(a_link_below_a_followed_one_may_be_replaced),
                CHECK_CASE(what_is_replaced_where_a_link_leads_is_not_followed),
                CHECK_CASE(a_link_that_the_layer_has_as_well_is_followed),
                CHECK_CASE(a_way_through_another_link_of_the_layer_is_refused),
                CHECK_CASE(what_was_begun_on_one_parent_is_not_put_on_another),
                CHECK_CASE(nothing_stays_of_a_parent_that_it_was_tried_on),
                CHECK_CASE(nothing_is_hidden_for_a_parent_that_it_was_tried_on),
                CHECK_CASE(what_a_killed_one_left_goes),
                CHECK_CASE(long_ways_through_many_links_are_refused),
                CHECK_CASE(many_directories_below_a_long_way_are_refused),
                {},
        });
}
