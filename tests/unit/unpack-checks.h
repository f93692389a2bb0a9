/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Unpacking archives that a test makes, into a tree that it looks at. */

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/path.h"
#include "services/snapshots/layer-unpack.h"
#include "tests/unit/check-directory.h"
#include "tests/unit/check-fault.h"
#include "tests/unit/check.h"
#include "tests/unit/test-unpack-tar.h"

/* One tree at a time, "t" in the test's directory; beside it a file that must never change. */
static int top = -1, root = -1;
static char notes_text[512];

__attribute__((unused)) static void fresh(void) {
        if (geteuid() != 0)
                check_skip("only root can give files away and make devices");
        if (top < 0)
                top = check_directory();
        root = fd_close(root);
        CHECK_OK(path_remove_tree(top, "t"));
        CHECK(mkdirat(top, "t", 0755) >= 0);
        check_directory_write(top, "outside", "untouched");
        root = openat(top, "t", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        CHECK(root >= 0);
}

__attribute__((unused)) static int memfd_of(const void *data, size_t size) {
        int fd = memfd_create("layer", MFD_CLOEXEC);
        CHECK(fd >= 0 && fd_write_all(fd, data, size) >= 0);
        return fd;
}

__attribute__((unused)) static int unpack_with(const Tar *tar, LayerUnpack unpack, LayerResult *ret,
                                               Fault *fault) {
        _cleanup_close_ int layer = memfd_of(tar->data, tar->size), notes = memfd_of("", 0);
        unpack.layer = layer;
        unpack.root = root;
        unpack.notes = notes;
        int r = layer_unpack(&unpack, ret, fault);
        ssize_t n = pread(notes, notes_text, sizeof(notes_text) - 1, 0);
        CHECK(n >= 0);
        for (ssize_t i = 0; i < n; i++)
                if (notes_text[i] == '\0')
                        notes_text[i] = ' ';
        notes_text[n] = '\0';
        char text[16] = { 0 };
        _cleanup_close_ int outside = openat(top, "outside", O_RDONLY | O_CLOEXEC);
        CHECK(read(outside, text, sizeof(text) - 1) == 9 && strcmp(text, "untouched") == 0);
        return r;
}

__attribute__((unused)) static int unpack(const Tar *tar, Fault *fault) {
        LayerResult result;
        return unpack_with(tar, (LayerUnpack){ 0 }, &result, fault);
}

/* Ends the archive, unpacks it into a fresh tree, frees it. */
__attribute__((unused)) static void unpack_good(Tar *tar) {
        fresh();
        tar_end(tar);
        CHECK_NO_FAULT(unpack(tar, &fault));
        tar_done(tar);
}

__attribute__((unused)) static struct stat status(const char *path) {
        struct stat st;
        CHECK_FORMAT(fstatat(root, path, &st, AT_SYMLINK_NOFOLLOW) >= 0, "%s: %s", path, strerror(errno));
        return st;
}

__attribute__((unused)) static bool exists(const char *path) {
        struct stat st;
        return fstatat(root, path, &st, AT_SYMLINK_NOFOLLOW) >= 0;
}

__attribute__((unused)) static void check_contents(const char *path, const char *expected) {
        char text[256] = { 0 };
        _cleanup_close_ int fd = openat(root, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        CHECK_FORMAT(fd >= 0, "%s: %s", path, strerror(errno));
        CHECK(read(fd, text, sizeof(text) - 1) >= 0);
        CHECK_STRING(text, expected);
}
