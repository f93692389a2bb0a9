/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A layer as it comes from a registry, with its compression. */

#include "tests/fuzz/unpack-tree.h"

int fuzz_parse(const uint8_t *data, size_t size) {
        Fault fault = FAULT_NULL;
        uint8_t *archive;
        ssize_t n = unpack_decompress(data, size, COMPRESSION_AUTO, &archive, &fault);
        int r = n < 0 ? fuzz_result((int) n, &fault) : unpack_archive(archive, (size_t) n);
        free(archive);
        return r;
}
