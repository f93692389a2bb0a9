/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A fuzz target parses hostile input and holds what comes out against what the parser promises. Its corpus
 * is in corpus/<target>/; there a file named good-* must be taken, one named should-fail-* must be refused.
 */

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/fault.h"

/* What the parser said: 0 or positive, or a negative errno. */
int fuzz_parse(const uint8_t *data, size_t size);

#define FUZZ_REQUIRE(condition)                                                                             \
        do {                                                                                                \
                if (!(condition)) {                                                                         \
                        fprintf(stderr, "%s:%i: %s\n", __FILE__, __LINE__, #condition);                     \
                        abort();                                                                            \
                }                                                                                           \
        } while (0)

/* A refusal has its sentence, and only a refusal has one. */
static inline int fuzz_result(int r, Fault *fault) {
        FUZZ_REQUIRE((r < 0) == (fault->error < 0));
        FUZZ_REQUIRE((r < 0) == (fault->text && fault->text[0]));
        FUZZ_REQUIRE(r >= 0 || r == fault->error);
        fault_done(fault);
        return r;
}
