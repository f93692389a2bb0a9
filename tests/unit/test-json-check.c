/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/json-check.h"

#include <json-c/json.h>

#include "tests/unit/check.h"

static const char *why(const char *text, size_t *offset) {
        return json_check_text(text, strlen(text), 3, offset);
}

static void lets_ordinary_text_pass(void) {
        static const char *const cases[] = {
                "{}",
                "[[[1,-2,3.5e10,-0.25]]]",
                "{\"k\":\"\\\"\\\\\\u0041\xc3\xa4\"}",
                "{\"k\":\"\\\\u0000\"}", /* a backslash, then the letters u0000 */
                "[18446744073709551615,-9223372036854775808,123456789012345678901234567890.5]",
        };
        size_t offset;
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++)
                CHECK_FORMAT(!why(cases[i], &offset), "%s: %s", cases[i], why(cases[i], &offset));
}

static void names_what_and_where(void) {
        static const struct {
                const char *text, *why;
                size_t offset;
        } cases[] = {
                { "[[[[", "nested too deeply", 4 },
                { "\"abc", "string without end", 4 },
                { "\"a\\", "string without end", 4 },
                { "\"\\u0000\"", "NUL in a string", 0 },
                { "\"a\tb\"", "control character in a string", 0 },
                { "\"\xc0\xaf\"", "invalid UTF-8", 0 },
                { "{\xc3\xa4:1}", "stray character", 2 },
                { "{'a':1}", "stray character", 2 },
                { "[NaN]", "stray character", 2 },
                { "[nul", "stray character", 2 },
                { "[-01]", "malformed number", 2 },
                { "[1.]", "malformed number", 2 },
                { "[18446744073709551616]", "integer beyond 64 bits", 0 },
                { "[-9223372036854775809]", "integer beyond 64 bits", 0 },
        };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                size_t offset = 0;
                CHECK_STRING(why(cases[i].text, &offset), cases[i].why);
                CHECK(offset <= strlen(cases[i].text));
                if (cases[i].offset > 0)
                        CHECK_INT(offset, MIN_OF(cases[i].offset, strlen(cases[i].text)));
        }
}

static void every_prefix_is_safe(void) {
        static const char text[] = "{\"a\\u0041\":[1.5e3,-12,{\"b\":\"\xe2\x82\xac\\\\\"}]}";
        for (size_t n = 0; n <= sizeof(text) - 1; n++) {
                _cleanup_free_ char *exact = malloc(n + (n == 0)); /* so that a sanitizer sees the end */
                size_t offset;
                memcpy(exact, text, n);
                (void) json_check_text(exact, n, 8, &offset);
                (void) json_check_count_text_members(exact, n);
        }
}

static void counts_members_in_text_and_document(void) {
        static const struct {
                const char *text;
                size_t in_text, in_document;
        } cases[] = {
                { "{}", 0, 0 },
                { "{\"a:b\":\"c:d\\\":\",\"e\":[{\"f\":1},{\"f\":2}]}", 4, 4 },
                { "{\"a\":1,\"a\":2}", 2, 1 },
                { "{\"a\":{\"b\":1},\"a\":{}}", 3, 1 },
        };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                json_object *document = json_tokener_parse(cases[i].text);
                CHECK(document);
                CHECK_INT(json_check_count_text_members(cases[i].text, strlen(cases[i].text)),
                          cases[i].in_text);
                CHECK_INT(json_check_count_document_members(document), cases[i].in_document);
                json_object_put(document);
        }
}

static void values_are_found_where_they_stand(void) {
        static const char *const path[] = { "a", "b", NULL };
        static const struct {
                const char *text, *value; /* NULL: none */
        } cases[] = {
                { "{\"a\":{\"b\":[1,2]}}", "[1,2]" },
                { " { \"a\" : { \"b\" : { \"c\" : \"}\" } } }", "{ \"c\" : \"}\" }" },
                { "{\"b\":{\"b\":1},\"x\":[{\"b\":2}],\"a\":{\"x\":\"\\\",\\\"b\\\":\",\"b\":3}}", "3" },
                { "{\"a\":{\"b\":\"x\\\"y\"}}", "\"x\\\"y\"" },
                { "{\"a\":{\"b\":tr", "tr" },
                { "{\"a\":{\"bb\":1}}", NULL },
                { "{\"a\":{\"\\u0062\":1}}", NULL },
                { "{\"a\":[{\"b\":1}]}", NULL },
                { "{\"a\":{}}", NULL },
                { "{\"a\" 1 \"a\":{\"b\":1}}", NULL },
                { "[]", NULL },
                { "", NULL },
        };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                size_t length = strlen(cases[i].text), offset = 0, size = 0;
                bool found = json_check_find(cases[i].text, length, path, &offset, &size);
                CHECK_FORMAT(found == (cases[i].value != NULL), "%s", cases[i].text);
                CHECK_FORMAT(!found || (size == strlen(cases[i].value) &&
                                        memcmp(cases[i].text + offset, cases[i].value, size) == 0),
                             "%s: %zu, %zu", cases[i].text, offset, size);
                /* Cut off anywhere: nothing beyond is read. */
                for (size_t n = 0; n < length; n++) {
                        _cleanup_free_ char *exact = malloc(n + (n == 0));
                        memcpy(exact, cases[i].text, n);
                        if (json_check_find(exact, n, path, &offset, &size))
                                CHECK(offset + size <= n);
                }
        }
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(lets_ordinary_text_pass),
                CHECK_CASE(names_what_and_where),
                CHECK_CASE(every_prefix_is_safe),
                CHECK_CASE(counts_members_in_text_and_document),
                CHECK_CASE(values_are_found_where_they_stand),
                {},
        });
}
