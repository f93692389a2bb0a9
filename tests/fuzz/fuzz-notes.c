/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Notes about the directories of a layer as the tree is finished with them, on top of a parent. The trees:
 * "a/b", "f" a file, "l" a link to "a"; the parent has "l/b" and "m" as links instead. Whatever they say,
 * nothing but the tree changes, and it is never told as a failure of the disk. */

#include <errno.h>

#include "services/snapshots/tree-finish.h"
#include "tests/fuzz/unpack-tree.h"

static void make_directory(const char *path) {
        FUZZ_REQUIRE(mkdirat(unpack_top, path, 0755) >= 0);
}

static void make_trees(const uint8_t *notes, size_t size) {
        static const char *const directories[] = { "t",
                                                   "t/trees",
                                                   "t/trees/7",
                                                   "t/trees/7/fs",
                                                   "t/parent",
                                                   "t/trees/7/fs/a",
                                                   "t/trees/7/fs/a/b",
                                                   "t/trees/7/fs/m",
                                                   "t/trees/7/fs/m/x",
                                                   "t/parent/a",
                                                   "t/parent/a/b" };
        FUZZ_REQUIRE(path_remove_tree(unpack_top, "t") >= 0);
        for (size_t i = 0; i < ELEMENTS_OF(directories); i++)
                make_directory(directories[i]);
        _cleanup_close_ int file =
                openat(unpack_top, "t/trees/7/fs/f", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        _cleanup_close_ int fd = openat(unpack_top, "t/trees/7/notes", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        FUZZ_REQUIRE(file >= 0 && fd >= 0 && fd_write_all(fd, notes, size) >= 0);
        FUZZ_REQUIRE(symlinkat("a", unpack_top, "t/trees/7/fs/l") >= 0);
        FUZZ_REQUIRE(symlinkat("../../outside", unpack_top, "t/parent/l") >= 0);
        FUZZ_REQUIRE(symlinkat("/a", unpack_top, "t/parent/m") >= 0);
}

int fuzz_parse(const uint8_t *data, size_t size) {
        Fault fault = FAULT_NULL;
        if (unpack_top < 0)
                unpack_make_top();
        make_trees(data, size);
        _cleanup_close_ int trees = openat(unpack_top, "t/trees", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        _cleanup_close_ int parent = openat(unpack_top, "t/parent", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        FUZZ_REQUIRE(trees >= 0 && parent >= 0);
        int r = tree_finish(trees, 7, parent, 5, &fault);
        /* The marks take a privilege that who runs this may not have. */
        FUZZ_REQUIRE(r >= 0 || r == -EBADMSG || (r == -EPERM && geteuid() != 0));
        unpack_check_outside();
        return fuzz_result(r, &fault);
}
