/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* For the targets that unpack: one tree at a time, beside which nothing may change, and archives from
 * memory in stretches of odd sizes. */

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/path.h"
#include "services/snapshots/decompress.h"
#include "services/snapshots/layer-writer.h"
#include "tests/fuzz/fuzz.h"

#define TREE_SIZE_MAX (UINT64_C(16) * 1024 * 1024)
#define TREE_ENTRIES_MAX 200

/* In memory: no disk is waited for. */
static char unpack_top_name[] = "/dev/shm/crt-fuzz-XXXXXX";
static int unpack_top = -1;

static void unpack_remove_top(void) {
        (void) path_remove_tree(AT_FDCWD, unpack_top_name + 1);
}

static void unpack_make_top(void) {
        FUZZ_REQUIRE(mkdtemp(unpack_top_name) && chdir("/") >= 0);
        (void) umask(0);
        (void) atexit(unpack_remove_top);
        unpack_top = open(unpack_top_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int outside = openat(unpack_top, "outside", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        FUZZ_REQUIRE(unpack_top >= 0 && outside >= 0);
        (void) close(outside);
}

/* "t" and "outside", which is still empty and has one name. */
static void unpack_check_outside(void) {
        struct stat st;
        FUZZ_REQUIRE(fstatat(unpack_top, "outside", &st, AT_SYMLINK_NOFOLLOW) >= 0);
        FUZZ_REQUIRE(S_ISREG(st.st_mode) && st.st_size == 0 && st.st_nlink == 1);
        FUZZ_REQUIRE((st.st_mode & 07777) == 0600 && st.st_uid == geteuid());
        unsigned count = 0;
        DIR *stream = fdopendir(openat(unpack_top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        FUZZ_REQUIRE(stream);
        while (readdir(stream))
                count++;
        (void) closedir(stream);
        FUZZ_REQUIRE(count == 4);
}

typedef struct UnpackMemory {
        const uint8_t *data;
        size_t left;
        size_t piece;
} UnpackMemory;

/* Each in a block of its own, so that a sanitizer sees who reads past its end. */
static int unpack_memory_next(void *userdata, const uint8_t **ret_data, size_t *ret_size, Fault *fault) {
        UnpackMemory *memory = userdata;
        static uint8_t *block;
        free(block);
        size_t n = MIN_OF(memory->piece, memory->left);
        block = malloc(MAX_OF(n, (size_t) 1));
        FUZZ_REQUIRE(block);
        memcpy(block, memory->data, n);
        memory->data += n;
        memory->left -= n;
        memory->piece = memory->piece % 1531 + 1;
        *ret_data = block;
        *ret_size = n;
        return n > 0;
}

/* An archive that is not compressed. */
__attribute__((unused)) static int unpack_archive(const uint8_t *data, size_t size) {
        Fault fault = FAULT_NULL;
        uint64_t written;
        if (unpack_top < 0)
                unpack_make_top();
        FUZZ_REQUIRE(path_remove_tree(unpack_top, "t") >= 0 && mkdirat(unpack_top, "t", 0700) >= 0);
        _cleanup_close_ int root = openat(unpack_top, "t", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        _cleanup_close_ int notes = memfd_create("notes", MFD_CLOEXEC);
        FUZZ_REQUIRE(root >= 0 && notes >= 0);

        UnpackMemory memory = { .data = data, .left = size, .piece = 4096 };
        const LayerSource source = { .next = unpack_memory_next, .userdata = &memory };
        const LayerRules rules = { .size_max = TREE_SIZE_MAX, .entries_max = TREE_ENTRIES_MAX };
        int r = layer_writer_unpack(root, source, &rules, notes, &written, &fault);
        unpack_check_outside();
        FUZZ_REQUIRE(r < 0 || (memory.left == 0 && written <= TREE_SIZE_MAX));
        return fuzz_result(r, &fault);
}

/* Whatever compression into memory. Negative, or the number of bytes. */
static ssize_t unpack_decompress(const uint8_t *data, size_t size, Compression compression, uint8_t **ret,
                                 Fault *fault) {
        Decompressor decompressor;
        LayerInput input = { 0 };
        _cleanup_close_ int layer = memfd_create("layer", MFD_CLOEXEC);
        FUZZ_REQUIRE(layer >= 0 && fd_write_all(layer, data, size) >= 0);
        uint8_t *out = malloc(TREE_SIZE_MAX + 1);
        FUZZ_REQUIRE(out && layer_input_init(&input, layer, 1, fault) >= 0);
        ssize_t n = decompressor_init(&decompressor, compression, &input, fault);
        if (n >= 0)
                n = decompressor_read(&decompressor, out, TREE_SIZE_MAX + 1, fault);
        if (n > (ssize_t) TREE_SIZE_MAX)
                n = fault_set(fault, -EDQUOT, "too large for this");
        decompressor_done(&decompressor);
        layer_input_done(&input);
        *ret = out;
        return n;
}

/* The same comes out in small pieces as in one. */
__attribute__((unused)) static int unpack_check_stream(const uint8_t *data, size_t size,
                                                       Compression compression) {
        Fault fault = FAULT_NULL, second = FAULT_NULL;
        Decompressor decompressor;
        LayerInput input = { 0 };
        uint8_t *all, piece[97];
        ssize_t whole = unpack_decompress(data, size, compression, &all, &fault), n = 1;
        _cleanup_close_ int layer = memfd_create("layer", MFD_CLOEXEC);
        FUZZ_REQUIRE(layer >= 0 && fd_write_all(layer, data, size) >= 0);
        FUZZ_REQUIRE(layer_input_init(&input, layer, 1, &second) >= 0);
        FUZZ_REQUIRE(decompressor_init(&decompressor, compression, &input, &second) >= 0);
        size_t done = 0;
        while (n > 0 && done < TREE_SIZE_MAX) {
                n = decompressor_read(&decompressor, piece, 1 + done % sizeof(piece), &second);
                if (n > 0 && whole >= 0)
                        FUZZ_REQUIRE(done + (size_t) n <= (size_t) whole &&
                                     memcmp(piece, all + done, (size_t) n) == 0);
                done += n > 0 ? (size_t) n : 0;
        }
        /* zstd finds a wrong size of contents only where it sees all of them at once. */
        FUZZ_REQUIRE(whole < 0 || done >= TREE_SIZE_MAX || (n == 0 && done == (size_t) whole));
        decompressor_done(&decompressor);
        layer_input_done(&input);
        free(all);
        fault_done(&second);
        return fuzz_result(whole < 0 ? (int) whole : 0, &fault);
}
