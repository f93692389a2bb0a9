/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <string.h>

#include "runtime/criu-message.h"
#include "tests/fuzz/fuzz.h"

int fuzz_parse(const uint8_t *data, size_t size) {
        CriuAnswer answer;
        int r = criu_answer_parse(data, size, &answer);
        if (r < 0)
                return r;
        FUZZ_REQUIRE(answer.type != 0 && answer.pid >= 0);
        FUZZ_REQUIRE(strnlen(answer.script, sizeof(answer.script)) < sizeof(answer.script));
        FUZZ_REQUIRE(strnlen(answer.error, sizeof(answer.error)) < sizeof(answer.error));
        return 0;
}
