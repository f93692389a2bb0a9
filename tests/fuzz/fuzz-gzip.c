/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A gzip stream: the same comes out whatever the size of the pieces that are asked for. */

#include "tests/fuzz/unpack-tree.h"

int fuzz_parse(const uint8_t *data, size_t size) {
        return unpack_check_stream(data, size, COMPRESSION_GZIP);
}
