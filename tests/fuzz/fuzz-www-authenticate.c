/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <string.h>

#include "lib/strv.h"
#include "services/images/http-challenge.h"
#include "tests/fuzz/fuzz.h"

static void require_sound(const HttpChallenge *challenge) {
        const char *fields[] = { challenge->realm, challenge->service, challenge->scope, challenge->error };
        FUZZ_REQUIRE(challenge->scheme == HTTP_SCHEME_BASIC || challenge->scheme == HTTP_SCHEME_BEARER);
        FUZZ_REQUIRE(challenge->scheme != HTTP_SCHEME_BEARER || challenge->realm);
        /* They become part of addresses and sentences. */
        for (size_t i = 0; i < ELEMENTS_OF(fields); i++)
                FUZZ_REQUIRE(!fields[i] || string_is_printable(fields[i]));
}

/* Each line is one header's value. */
int fuzz_parse(const uint8_t *data, size_t size) {
        Fault fault = FAULT_NULL;
        HttpChallenge challenge = { 0 };
        _cleanup_strv_ char **values = NULL;
        _cleanup_free_ char *text = strndup((const char *) data, size);
        FUZZ_REQUIRE(text);

        char *rest = text;
        for (const char *line; (line = strsep(&rest, "\n"));)
                FUZZ_REQUIRE(strv_append(&values, line) >= 0);
        int r = http_challenge_parse(values, &challenge, &fault);
        if (r >= 0) {
                require_sound(&challenge);
                http_challenge_done(&challenge);
        }
        return fuzz_result(r, &fault);
}
