/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The entry point for libFuzzer (-Dfuzz=true). */

#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        (void) fuzz_parse(data, size);
        return 0;
}
