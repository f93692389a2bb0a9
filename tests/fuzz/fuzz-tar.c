/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* An archive that is not compressed, and whose checksums are put right, so that changes get past them. */

#include "tests/fuzz/unpack-tree.h"

#define BLOCK ((size_t) 512)

static void fix_checksum(uint8_t *block) {
        char text[8];
        unsigned sum = 0;
        if (memcmp(block + 257, "ustar", 5) != 0)
                return;
        memset(block + 148, ' ', 8);
        for (size_t i = 0; i < BLOCK; i++)
                sum += block[i];
        (void) snprintf(text, sizeof(text), "%06o", sum);
        memcpy(block + 148, text, 7);
}

int fuzz_parse(const uint8_t *data, size_t size) {
        uint8_t *copy = malloc(MAX_OF(size, (size_t) 1));
        FUZZ_REQUIRE(copy);
        memcpy(copy, data, size);
        for (size_t at = 0; at + BLOCK <= size; at += BLOCK)
                fix_checksum(copy + at);
        int r = unpack_archive(copy, size);
        free(copy);
        return r;
}
