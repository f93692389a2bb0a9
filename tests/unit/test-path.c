/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/path.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "lib/fd.h"
#include "tests/unit/check-directory.h"
#include "tests/unit/check.h"

/* tree/{dir/file, out -> /etc, up -> ../.., in -> dir, absolute -> /dir, loop -> loop} */
static int make_tree(void) {
        _cleanup_close_ int directory = check_directory();
        CHECK_OK(path_remove_tree(directory, "tree"));
        CHECK_INT(mkdirat(directory, "tree", 0755), 0);
        int tree = openat(directory, "tree", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        CHECK_INT(mkdirat(tree, "dir", 0755), 0);
        check_directory_write(tree, "dir/file", "inside");
        CHECK_INT(symlinkat("/etc", tree, "out"), 0);
        CHECK_INT(symlinkat("../..", tree, "up"), 0);
        CHECK_INT(symlinkat("dir", tree, "in"), 0);
        CHECK_INT(symlinkat("/dir", tree, "absolute"), 0);
        CHECK_INT(symlinkat("loop", tree, "loop"), 0);
        return tree;
}

static void nothing_leads_out_of_our_own_trees(void) {
        _cleanup_close_ int tree = make_tree();
        static const struct {
                const char *path;
                int result; /* 0: it opens */
        } cases[] = {
                { "dir/file", 0 },
                { "in/file", -ELOOP },
                { "out/passwd", -ELOOP },
                { "up", -ELOOP },
                { "loop", -ELOOP },
                { "../tree/dir/file", -EXDEV },
                { "dir/../dir/file", -EXDEV },
                { "absent", -ENOENT },
                { "dir/file/x", -ENOTDIR },
        };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                _cleanup_close_ int fd = path_open(tree, cases[i].path, O_RDONLY, 0, PATH_BENEATH);
                CHECK_FORMAT(MIN_OF(fd, 0) == cases[i].result, "%s: %i", cases[i].path, fd);
                CHECK(fd < 0 || (fcntl(fd, F_GETFD) & FD_CLOEXEC));
        }
}

static void links_in_a_container_stay_in_its_root(void) {
        _cleanup_close_ int tree = make_tree();
        static const struct {
                const char *path;
                int result;
        } cases[] = {
                { "dir/file", 0 },         { "in/file", 0 },           { "absolute/file", 0 },
                { "up/dir/file", 0 },      { "../../../dir/file", 0 }, { "/dir/file", 0 },
                { "out/passwd", -ENOENT }, { "loop", -ELOOP },
        };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                _cleanup_close_ int fd = path_open(tree, cases[i].path, O_RDONLY, 0, PATH_IN_ROOT);
                CHECK_FORMAT(MIN_OF(fd, 0) == cases[i].result, "%s: %i", cases[i].path, fd);
        }
}

static void directories_are_made_where_links_lead(void) {
        _cleanup_close_ int tree = make_tree();
        struct stat st;
        _cleanup_close_ int fd = path_make_directories(tree, "absolute/a/b", 0700, PATH_IN_ROOT);
        CHECK_OK(fd);
        CHECK_INT(fstatat(tree, "dir/a/b", &st, 0), 0);
        CHECK_INT(st.st_mode & 07777, 0700);
        _cleanup_close_ int again = path_make_directories(tree, "absolute/a/b", 0700, PATH_IN_ROOT);
        CHECK_OK(again);
        _cleanup_close_ int refused = path_make_directories(tree, "in/c", 0700, PATH_BENEATH);
        CHECK_ERROR(refused, -ELOOP);
        CHECK_INT(fstatat(tree, "dir/c", &st, 0), -1);
        _cleanup_close_ int file = path_make_directories(tree, "dir/file/c", 0700, PATH_BENEATH);
        CHECK_ERROR(file, -ENOTDIR);
}

static void finds_the_parent_and_the_name(void) {
        _cleanup_close_ int tree = make_tree();
        _cleanup_free_ char *name = NULL;
        _cleanup_close_ int fd = path_open_parent(tree, "dir/new", PATH_BENEATH, &name);
        CHECK_OK(fd);
        CHECK_STRING(name, "new");
        struct stat a, b;
        CHECK(fstat(fd, &a) == 0 && fstatat(tree, "dir", &b, 0) == 0 && a.st_ino == b.st_ino);

        static const char *const bad[] = { "", ".", "..", "dir/", "dir/..", "/" };
        for (size_t i = 0; i < ELEMENTS_OF(bad); i++) {
                _cleanup_free_ char *none = NULL;
                _cleanup_close_ int r = path_open_parent(tree, bad[i], PATH_BENEATH, &none);
                CHECK_FORMAT(r == -EINVAL && !none, "'%s': %i", bad[i], r);
        }
}

static void removes_a_tree_and_nothing_behind_its_links(void) {
        _cleanup_close_ int tree = make_tree();
        _cleanup_close_ int directory = check_directory();
        CHECK_INT(mkdirat(directory, "other", 0755), 0);
        check_directory_write(directory, "other/kept", "");
        CHECK_INT(symlinkat("../other", tree, "link"), 0);
        CHECK_OK(path_remove_tree(directory, "tree"));
        CHECK_INT(faccessat(directory, "tree", F_OK, 0), -1);
        CHECK_INT(faccessat(directory, "other/kept", F_OK, 0), 0);
        CHECK_OK(path_remove_tree(directory, "tree"));
        CHECK_OK(path_remove_tree(directory, "no/such/parent"));
        CHECK_ERROR(path_remove_tree(directory, ".."), -EINVAL);
        CHECK_OK(path_remove_tree(directory, "other"));
}

static void removing_a_link_leaves_its_target(void) {
        _cleanup_close_ int tree = make_tree();
        CHECK_OK(path_remove_tree(tree, "in"));
        CHECK_INT(faccessat(tree, "dir/file", F_OK, 0), 0);
        CHECK_INT(faccessat(tree, "in", F_OK, AT_SYMLINK_NOFOLLOW), -1);
}

static int remove_with_a_mount_inside(void) {
        if (unshare(CLONE_NEWNS) < 0)
                return 77;
        if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || chdir(check_directory_name) < 0 ||
            mount("none", "tree/dir", "tmpfs", 0, NULL) < 0)
                return 77;
        int fd = open("tree/dir/precious", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        if (fd < 0 || path_remove_tree(AT_FDCWD, "tree") >= 0)
                return 1;
        return access("tree/dir/precious", F_OK) == 0 ? 0 : 2;
}

static void removing_does_not_cross_mounts(void) {
        fd_close(make_tree());
        int status;
        pid_t pid = fork();
        if (pid == 0)
                _exit(remove_with_a_mount_inside());
        CHECK_INT(waitpid(pid, &status, 0), pid);
        CHECK(WIFEXITED(status));
        if (WEXITSTATUS(status) == 77)
                check_skip("only root may mount");
        CHECK_INT(WEXITSTATUS(status), 0);
}

static void cleans_paths_as_inside_a_root(void) {
        static const char *const cases[][2] = {
                { "/a/../../b", "/b" }, { "a//b/./c/", "/a/b/c" },  { "", "/" },          { "..", "/" },
                { "/", "/" },           { "/..a/b..", "/..a/b.." }, { "a/b/../..", "/" },
        };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                _cleanup_free_ char *clean = NULL;
                CHECK_OK(path_normalize(cases[i][0], &clean));
                CHECK_STRING(clean, cases[i][1]);
        }
}

static void knows_components_and_normal_paths(void) {
        char longest[300];
        memset(longest, 'x', sizeof(longest));
        longest[255] = '\0';
        CHECK(path_is_component("a") && path_is_component("..a") && path_is_component(longest));
        longest[255] = 'x';
        longest[256] = '\0';
        CHECK(!path_is_component(longest) && !path_is_component("") && !path_is_component("."));
        CHECK(!path_is_component("..") && !path_is_component("a/b") && !path_is_component(NULL));
        CHECK(path_is_normal_absolute("/") && path_is_normal_absolute("/a/b"));
        CHECK(!path_is_normal_absolute("a") && !path_is_normal_absolute("/a/") &&
              !path_is_normal_absolute("//a") && !path_is_normal_absolute("/a/../b") &&
              !path_is_normal_absolute("/./a") && !path_is_normal_absolute(NULL));
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(nothing_leads_out_of_our_own_trees),
                CHECK_CASE(links_in_a_container_stay_in_its_root),
                CHECK_CASE(directories_are_made_where_links_lead),
                CHECK_CASE(finds_the_parent_and_the_name),
                CHECK_CASE(removes_a_tree_and_nothing_behind_its_links),
                CHECK_CASE(removing_a_link_leaves_its_target),
                CHECK_CASE(removing_does_not_cross_mounts),
                CHECK_CASE(cleans_paths_as_inside_a_root),
                CHECK_CASE(knows_components_and_normal_paths),
                {},
        });
}
