/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/strv.h"

#include "tests/unit/check.h"

static void grows_and_is_searched(void) {
        _cleanup_strv_ char **strv = NULL;
        CHECK_INT(strv_length(NULL), 0);
        CHECK_OK(strv_append(&strv, "one"));
        CHECK_OK(strv_appendf(&strv, "%s-%i", "two", 2));
        CHECK_OK(strv_consume(&strv, strdup("three")));
        CHECK_ERROR(strv_consume(&strv, NULL), -ENOMEM);
        CHECK_INT(strv_length(strv), 3);
        CHECK_STRING(strv[1], "two-2");
        CHECK(!strv[3]);
        CHECK(strv_contains((const char *const *) strv, "three"));
        CHECK(!strv_contains((const char *const *) strv, "two"));
        CHECK(!strv_contains(NULL, "two"));
        size_t seen = 0;
        STRV_FOREACH (item, strv)
                seen += strlen(item);
        CHECK_INT(seen, 13);
}

static void copies_deeply(void) {
        static const char *const source[] = { "a", "b", NULL };
        _cleanup_strv_ char **copy = NULL, **empty = NULL;
        CHECK_OK(strv_copy(source, &copy));
        CHECK_INT(strv_length(copy), 2);
        CHECK(copy[0] != source[0]);
        CHECK_OK(strv_copy(NULL, &empty));
        CHECK(empty && !empty[0]);
}

static void sets_a_variable_once(void) {
        _cleanup_strv_ char **environment = NULL;
        CHECK_OK(strv_set_environment(&environment, "PATH=/bin"));
        CHECK_OK(strv_set_environment(&environment, "PATHS=x"));
        CHECK_OK(strv_set_environment(&environment, "PATH=/usr/bin"));
        CHECK_INT(strv_length(environment), 2);
        const char *const *block = (const char *const *) environment;
        CHECK_STRING(strv_get_environment(block, "PATH"), "/usr/bin");
        CHECK_STRING(strv_get_environment(block, "PATHS"), "x");
        CHECK(!strv_get_environment(block, "PAT"));
        CHECK(!strv_get_environment(NULL, "PATH"));
}

static void compares_strings(void) {
        CHECK(string_equal(NULL, NULL) && string_equal("a", "a"));
        CHECK(!string_equal("a", NULL) && !string_equal(NULL, "a") && !string_equal("a", "b"));
        CHECK_STRING(string_after("sha256:ab", "sha256:"), "ab");
        CHECK(!string_after("sha", "sha256:"));
        CHECK(string_ends_with("a.tar", ".tar") && !string_ends_with("tar", ".tar"));
        CHECK(string_is_empty(NULL) && string_is_empty("") && !string_is_empty(" "));
}

static void refuses_what_is_not_utf8(void) {
        static const char *const good[] = {
                "", "a", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf", "\xed\x9f\xbf"
        };
        static const char *const bad[] = {
                "\x80",     "\xc3",         "\xc0\xaf",         "\xc1\xbf",         "\xe0\x80\xaf",
                "\xe2\x82", "\xed\xa0\x80", "\xf0\x80\x80\xaf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
                "\xff",     "a\xc3(",
        };
        for (size_t i = 0; i < ELEMENTS_OF(good); i++)
                CHECK_FORMAT(string_is_utf8(good[i], strlen(good[i])), "good %zu", i);
        for (size_t i = 0; i < ELEMENTS_OF(bad); i++)
                CHECK_FORMAT(!string_is_utf8(bad[i], strlen(bad[i])), "bad %zu", i);
        /* The size ends it, not a NUL. */
        CHECK(!string_is_utf8("\xe2\x82\xac", 2));
}

static void printable_has_no_control_characters(void) {
        CHECK(string_is_printable("a b") && string_is_printable("\xc2\xa0"));
        CHECK(!string_is_printable("a\nb") && !string_is_printable("\x1b[1m") &&
              !string_is_printable("\x7f") && !string_is_printable("\xc2\x85") &&
              !string_is_printable("\xff") && !string_is_printable(NULL));
}

static void converts_whole_strings_only(void) {
        uint64_t u = 7;
        int64_t i = 7;
        unsigned mode = 7;
        CHECK_ERROR(string_to_uint64("", UINT64_MAX, &u), -EINVAL);
        CHECK_ERROR(string_to_uint64(NULL, UINT64_MAX, &u), -EINVAL);
        CHECK_ERROR(string_to_uint64(" 1", UINT64_MAX, &u), -EINVAL);
        CHECK_ERROR(string_to_uint64("1x", UINT64_MAX, &u), -EINVAL);
        CHECK_ERROR(string_to_uint64("+1", UINT64_MAX, &u), -EINVAL);
        CHECK_ERROR(string_to_uint64("18446744073709551616", UINT64_MAX, &u), -ERANGE);
        CHECK_ERROR(string_to_uint64("99999999999999999999999", UINT64_MAX, &u), -ERANGE);
        CHECK_ERROR(string_to_uint64("11", 10, &u), -ERANGE);
        CHECK_INT(u, 7);
        CHECK_OK(string_to_uint64("18446744073709551615", UINT64_MAX, &u));
        CHECK(u == UINT64_MAX);

        CHECK_OK(string_to_int64("-9223372036854775808", &i));
        CHECK(i == INT64_MIN);
        CHECK_ERROR(string_to_int64("9223372036854775808", &i), -ERANGE);
        CHECK_ERROR(string_to_int64("-9223372036854775809", &i), -ERANGE);
        CHECK_ERROR(string_to_int64("--1", &i), -EINVAL);

        CHECK_ERROR(string_to_mode("8", &mode), -EINVAL);
        CHECK_ERROR(string_to_mode("10000", &mode), -ERANGE);
        CHECK_ERROR(string_to_mode("000755", &mode), -EINVAL);
        CHECK_OK(string_to_mode("01777", &mode));
        CHECK_INT(mode, 01777);
}

static void finds_names_in_tables_with_holes(void) {
        static const char *const table[] = { "a", NULL, "c" };
        CHECK_INT(string_table_find(table, 3, "c"), 2);
        CHECK_INT(string_table_find(table, 3, "b"), -EINVAL);
        CHECK_INT(string_table_find(table, 3, NULL), -EINVAL);
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(grows_and_is_searched),
                CHECK_CASE(copies_deeply),
                CHECK_CASE(sets_a_variable_once),
                CHECK_CASE(compares_strings),
                CHECK_CASE(refuses_what_is_not_utf8),
                CHECK_CASE(printable_has_no_control_characters),
                CHECK_CASE(converts_whole_strings_only),
                CHECK_CASE(finds_names_in_tables_with_holes),
                {},
        });
}
