/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Commits that end at every system call that they make: killed there, or told that there is no room. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/path.h"
#include "lib/strv.h"
#include "services/snapshots/image-mount.h"
#include "services/snapshots/snapshot-driver.h"
#include "services/snapshots/tree-stage.h"
#include "tests/unit/check-directory.h"
#include "tests/unit/check.h"

#define ID 7
#define CALLS_MAX 5000U

typedef enum Ending {
        ENDING_KILL,
        ENDING_NO_ROOM,
} Ending;

typedef struct Case {
        int trees, trash, parent;
        const SnapshotDriver *driver;
        bool layer; /* unpacked by itself, and not put on its parent yet; else a container has it mounted */
        struct stat root;
} Case;

static int directory_at(int top, const char *name) {
        CHECK(mkdirat(top, name, 0755) == 0);
        return path_open(top, name, O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
}

static void case_done(Case *test) {
        fd_close(test->trees);
        fd_close(test->trash);
        fd_close(test->parent);
}

static Case case_make(const SnapshotDriver *driver, bool layer) {
        _cleanup_close_ int top = check_directory();
        CHECK(path_remove_tree(top, "case") >= 0 || errno == ENOENT);
        _cleanup_close_ int place = directory_at(top, "case");
        Case test = { .driver = driver, .layer = layer };
        test.trees = directory_at(place, "trees");
        test.trash = directory_at(place, "trash");
        test.parent = directory_at(place, "parent");
        check_directory_write(test.parent, "below", "of the parent");
        CHECK(mkdirat(test.trees, "7", 0700) == 0 && mkdirat(test.trees, "7/fs", 0755) == 0 &&
              mkdirat(test.trees, "7/fs/d", 0755) == 0);
        check_directory_write(test.trees, "7/fs/d/file", "contents");
        check_directory_write(test.trees, "7/fs/top", "more");
        if (layer)
                check_directory_write(test.trees, "7/notes", "r");
        if (driver == &erofs_driver)
                CHECK(mkdirat(test.trees, "7/work", 0700) == 0);
        CHECK(fstatat(test.trees, "7/fs", &test.root, 0) == 0);
        return test;
}

static int case_finish(const Case *test) {
        const SnapshotFinish finish = {
                .trees = test->trees,
                .trash = test->trash,
                .id = ID,
                .parent = test->layer ? test->parent : -EBADF,
                .parent_id = test->layer ? 3 : 0,
                .mounted = !test->layer,
        };
        return test->driver->finish(&finish, NULL);
}

/* ---- a process that is looked after ---- */

/* Without room, no call that makes, changes or writes something succeeds; closing and the like does. */
static bool set_no_room(pid_t pid) {
#ifdef __x86_64__
        struct user_regs_struct registers;
        CHECK(ptrace(PTRACE_GETREGS, pid, NULL, &registers) == 0);
        switch (registers.orig_rax) {
        case SYS_close:
        case SYS_exit_group:
        case SYS_mmap:
        case SYS_munmap:
        case SYS_brk:
                return false;
        default:
                registers.orig_rax = (unsigned long long) -1;
                CHECK(ptrace(PTRACE_SETREGS, pid, NULL, &registers) == 0);
                return true;
        }
#else
        return false;
#endif
}

static void answer_no_room(pid_t pid) {
#ifdef __x86_64__
        struct user_regs_struct registers;
        CHECK(ptrace(PTRACE_GETREGS, pid, NULL, &registers) == 0);
        registers.rax = (unsigned long long) -ENOSPC;
        CHECK(ptrace(PTRACE_SETREGS, pid, NULL, &registers) == 0);
#endif
}

static bool next_stop(pid_t pid) {
        int status;
        CHECK(ptrace(PTRACE_SYSCALL, pid, NULL, NULL) == 0 && waitpid(pid, &status, 0) == pid);
        return WIFSTOPPED(status);
}

/* False: it made fewer calls than that, and is done. */
static bool finish_until(const Case *test, unsigned call, Ending ending) {
        int status;
        pid_t pid = fork();
        if (pid == 0) {
                if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
                        _exit(77);
                (void) raise(SIGSTOP);
                _exit(case_finish(test) < 0 ? 1 : 0);
        }
        CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
        if (!WIFSTOPPED(status))
                check_skip("a process can't be traced here");
        bool there = true;
        for (unsigned i = 0; there && i < call; i++)
                there = next_stop(pid) && (i + 1 == call || next_stop(pid));
        if (there && ending == ENDING_KILL) {
                CHECK(kill(pid, SIGKILL) == 0 && waitpid(pid, &status, 0) == pid);
                return true;
        }
        if (there && set_no_room(pid)) {
                there = next_stop(pid);
                answer_no_room(pid);
        }
        if (there)
                CHECK(ptrace(PTRACE_DETACH, pid, NULL, NULL) == 0 && waitpid(pid, &status, 0) == pid);
        return there;
}

/* ---- what is there ---- */

static void check_text(int directory, const char *name, const char *expected) {
        _cleanup_free_ char *text = NULL;
        CHECK_OK(fd_read_line_at(directory, name, &text));
        CHECK_STRING(text, expected);
}

static unsigned count_names(int trees) {
        unsigned count = 0;
        DIR *directory = fdopendir(path_open(trees, "7", O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH));
        CHECK(directory);
        for (const struct dirent *entry; (entry = readdir(directory));)
                count += path_is_component(entry->d_name);
        (void) closedir(directory);
        return count;
}

static bool has(const Case *test, const char *name) {
        return faccessat(test->trees, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* The very directory that somebody may have mounted, and nothing else. */
static void check_as_it_was(const Case *test) {
        struct stat st;
        CHECK(fstatat(test->trees, "7/fs", &st, 0) == 0);
        CHECK(st.st_ino == test->root.st_ino && st.st_mode == test->root.st_mode);
        check_text(test->trees, "7/fs/d/file", "contents");
        check_text(test->trees, "7/fs/top", "more");
        CHECK(!has(test, "7/fs/below") && has(test, "7/notes") == test->layer);
        CHECK_INT(count_names(test->trees), 1 + test->layer + (test->driver == &erofs_driver));
}

static void check_committed(const Case *test) {
        struct stat st;
        if (test->driver == &erofs_driver) {
                CHECK(has(test, "7/" IMAGE_FILE));
                CHECK_INT(count_names(test->trees), 1U + has(test, "7/" IMAGE_VERITY));
                return;
        }
        CHECK(fstatat(test->trees, "7/fs", &st, 0) == 0 && st.st_ino != test->root.st_ino);
        check_text(test->trees, "7/fs/d/file", "contents");
        CHECK(has(test, "7/fs/below") == test->layer);
        CHECK_INT(count_names(test->trees), 1);
}

/* ---- cases ---- */

static void ends_at_every_call(const SnapshotDriver *driver, bool layer, Ending ending) {
        unsigned call = 1, step = driver == &erofs_driver ? 3 : 1; /* its syncs take their time */
        for (bool there = true; there; call += step) {
                _cleanup_(case_done) Case test = case_make(driver, layer);
                there = finish_until(&test, call, ending);
                CHECK_OK(tree_stage_settle_by_id(test.trees, test.trash, ID, false));
                check_as_it_was(&test);
                CHECK_OK(case_finish(&test));
                CHECK_OK(tree_stage_settle_by_id(test.trees, test.trash, ID, true));
                check_committed(&test);
                CHECK(call < CALLS_MAX);
        }
        CHECK(call > 10);
}

static void a_copied_tree_outlives_a_killed_commit(void) {
        ends_at_every_call(&copy_driver, false, ENDING_KILL);
}

static void a_copied_tree_outlives_a_commit_without_room(void) {
        ends_at_every_call(&copy_driver, false, ENDING_NO_ROOM);
}

static void a_copied_layer_outlives_a_killed_commit(void) {
        ends_at_every_call(&copy_driver, true, ENDING_KILL);
}

static void a_copied_layer_outlives_a_commit_without_room(void) {
        ends_at_every_call(&copy_driver, true, ENDING_NO_ROOM);
}

static void what_becomes_an_image_outlives_a_killed_commit(void) {
        ends_at_every_call(&erofs_driver, false, ENDING_KILL);
}

static void what_becomes_an_image_outlives_a_commit_without_room(void) {
        ends_at_every_call(&erofs_driver, true, ENDING_NO_ROOM);
}

static void putting_in_order_can_be_done_again(void) {
        for (unsigned settled = 0; settled < 3; settled++) {
                _cleanup_(case_done) Case test = case_make(&copy_driver, true);
                CHECK_OK(case_finish(&test));
                for (unsigned i = 0; i <= settled; i++)
                        CHECK_OK(tree_stage_settle_by_id(test.trees, test.trash, ID, false));
                check_as_it_was(&test);
        }
}

/* What is called for a record that was not written. */
static int settle_in_child(const Case *test, unsigned call) {
        pid_t pid = fork();
        int status;
        if (pid == 0) {
                if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
                        _exit(77);
                (void) raise(SIGSTOP);
                _exit(tree_stage_settle_by_id(test->trees, test->trash, ID, false) < 0 ? 1 : 0);
        }
        CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
        if (!WIFSTOPPED(status))
                check_skip("a process can't be traced here");
        for (unsigned i = 0; i < 2 * call - 1; i++)
                if (!next_stop(pid))
                        return 0;
        CHECK(kill(pid, SIGKILL) == 0 && waitpid(pid, &status, 0) == pid);
        return 1;
}

static void putting_in_order_outlives_being_killed(void) {
        int there = 1;
        for (unsigned call = 1; there > 0; call++) {
                _cleanup_(case_done) Case test = case_make(&copy_driver, true);
                CHECK_OK(case_finish(&test));
                there = settle_in_child(&test, call);
                CHECK_OK(tree_stage_settle_by_id(test.trees, test.trash, ID, false));
                check_as_it_was(&test);
                CHECK(call < CALLS_MAX);
        }
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(a_copied_tree_outlives_a_killed_commit),
                CHECK_CASE(a_copied_tree_outlives_a_commit_without_room),
                CHECK_CASE(a_copied_layer_outlives_a_killed_commit),
                CHECK_CASE(a_copied_layer_outlives_a_commit_without_room),
                CHECK_CASE(what_becomes_an_image_outlives_a_killed_commit),
                CHECK_CASE(what_becomes_an_image_outlives_a_commit_without_room),
                CHECK_CASE(putting_in_order_can_be_done_again),
                CHECK_CASE(putting_in_order_outlives_being_killed),
                {},
        });
}
