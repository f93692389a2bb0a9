/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/base64.h"

#include "tests/unit/check.h"

/* RFC 4648, section 10, and bytes that use the whole alphabet's end. */
static void known_answers_both_ways(void) {
        static const char *const cases[][2] = {
                { "", "" },
                { "f", "Zg==" },
                { "fo", "Zm8=" },
                { "foo", "Zm9v" },
                { "foob", "Zm9vYg==" },
                { "fooba", "Zm9vYmE=" },
                { "foobar", "Zm9vYmFy" },
                { "user:p\xc3\xa4ss", "dXNlcjpww6Rzcw==" },
                { "\xfb\xff\xbf", "+/+/" },
        };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                _cleanup_free_ char *string = NULL;
                _cleanup_free_ void *data = NULL;
                size_t size = 99;
                CHECK_OK(base64_encode(cases[i][0], strlen(cases[i][0]), &string));
                CHECK_STRING(string, cases[i][1]);
                CHECK_OK(base64_decode(string, &data, &size));
                CHECK_INT(size, strlen(cases[i][0]));
                CHECK_STRING((const char *) data, cases[i][0]);
        }
}

static void every_length_comes_back(void) {
        uint8_t bytes[64];
        for (size_t i = 0; i < sizeof(bytes); i++)
                bytes[i] = (uint8_t) (i * 37);
        for (size_t n = 0; n <= sizeof(bytes); n++) {
                _cleanup_free_ char *string = NULL;
                _cleanup_free_ void *data = NULL;
                size_t size;
                CHECK_OK(base64_encode(bytes, n, &string));
                CHECK_OK(base64_decode(string, &data, &size));
                CHECK(size == n && memcmp(data, bytes, n) == 0);
        }
}

static void refuses_what_is_not_exact(void) {
        static const char *const bad[] = {
                "Z",    "Zg",   "Zg=",  "=",    "====", "Z===", "Zg==Zg==", "Zm9v\n", "Zm 9v",
                "Zm9-", "Zm9_", "Zh==", "Zm9=", "Z=g=", "Zg=v", "Zm9vZ",    "Zm9\xff"
        };
        for (size_t i = 0; i < ELEMENTS_OF(bad); i++) {
                void *data = NULL;
                size_t size;
                CHECK_FORMAT(base64_decode(bad[i], &data, &size) == -EINVAL && !data, "'%s' is taken",
                             bad[i]);
        }
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(known_answers_both_ways),
                CHECK_CASE(every_length_comes_back),
                CHECK_CASE(refuses_what_is_not_exact),
                {},
        });
}
