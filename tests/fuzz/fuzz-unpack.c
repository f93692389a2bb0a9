/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A layer as it comes from a registry, with its compression, into a directory beside which nothing may
 * change. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/path.h"
#include "services/snapshots/layer-unpack.h"
#include "tests/fuzz/fuzz.h"

#define SIZE_MAX_OF_LAYER (UINT64_C(16) * 1024 * 1024)
#define ENTRIES_MAX 200

static char top_name[] = "/tmp/crt-fuzz-XXXXXX";
static int top = -1;

static void remove_top(void) {
        (void) path_remove_tree(AT_FDCWD, top_name + 1);
}

static void make_top(void) {
        (void) setlocale(LC_CTYPE, "C.UTF-8"); /* as the worker does */
        FUZZ_REQUIRE(mkdtemp(top_name) && chdir("/") >= 0);
        (void) atexit(remove_top);
        top = open(top_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int outside = openat(top, "outside", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        FUZZ_REQUIRE(top >= 0 && outside >= 0);
        (void) close(outside);
}

/* "t" and "outside", which is still empty and has one name. */
static void check_outside(void) {
        struct stat st;
        FUZZ_REQUIRE(fstatat(top, "outside", &st, AT_SYMLINK_NOFOLLOW) >= 0);
        FUZZ_REQUIRE(S_ISREG(st.st_mode) && st.st_size == 0 && st.st_nlink == 1);
        FUZZ_REQUIRE((st.st_mode & 07777) == 0600 && st.st_uid == geteuid());
        unsigned count = 0;
        DIR *stream = fdopendir(openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        FUZZ_REQUIRE(stream);
        while (readdir(stream))
                count++;
        (void) closedir(stream);
        FUZZ_REQUIRE(count == 4);
}

int fuzz_parse(const uint8_t *data, size_t size) {
        Fault fault = FAULT_NULL;
        LayerResult result;
        if (top < 0)
                make_top();
        FUZZ_REQUIRE(path_remove_tree(top, "t") >= 0 && mkdirat(top, "t", 0700) >= 0);
        _cleanup_close_ int root = openat(top, "t", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        _cleanup_close_ int layer = memfd_create("layer", MFD_CLOEXEC),
                            notes = memfd_create("notes", MFD_CLOEXEC);
        FUZZ_REQUIRE(root >= 0 && layer >= 0 && notes >= 0 && fd_write_all(layer, data, size) >= 0);

        const LayerUnpack unpack = {
                .layer = layer,
                .root = root,
                .notes = notes,
                .compression = COMPRESSION_AUTO,
                .algorithm = DIGEST_SHA256,
                .size_max = SIZE_MAX_OF_LAYER,
                .entries_max = ENTRIES_MAX,
        };
        int r = layer_unpack(&unpack, &result, &fault);
        check_outside();
        FUZZ_REQUIRE(r < 0 || result.entries <= ENTRIES_MAX);
        return fuzz_result(r, &fault);
}
