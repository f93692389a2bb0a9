/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/identifier.h"

#include "lib/macros.h"
#include "tests/unit/check.h"

static char *repeated(char c, size_t n) {
        static char text[512];
        memset(text, c, n);
        text[n] = '\0';
        return text;
}

static void identifiers_are_those_of_containerd(void) {
        static const char *const good[] = { "a", "0", "A-b", "default", "a.b_c-d", "7f3a", "A0" };
        static const char *const bad[] = { "",    "-a",  "a-",  ".",        "a..b", "a._b", "a/b",
                                           "a b", "a:b", "a\n", "\xc3\xa4", "a--b", "../x", "_" };
        for (size_t i = 0; i < ELEMENTS_OF(good); i++)
                CHECK_FORMAT(identifier_is_valid(good[i]), "'%s' is refused", good[i]);
        for (size_t i = 0; i < ELEMENTS_OF(bad); i++)
                CHECK_FORMAT(!identifier_is_valid(bad[i]), "'%s' is taken", bad[i]);
        CHECK(!identifier_is_valid(NULL));
        CHECK(identifier_is_valid(repeated('a', 76)));
        CHECK(!identifier_is_valid(repeated('a', 77)));
}

static void snapshot_keys_are_printable(void) {
        CHECK(snapshot_key_is_valid("sha256:0123/x") && snapshot_key_is_valid("~!") &&
              snapshot_key_is_valid(repeated('k', 255)));
        CHECK(!snapshot_key_is_valid("") && !snapshot_key_is_valid(NULL) && !snapshot_key_is_valid("/a") &&
              !snapshot_key_is_valid("a/") && !snapshot_key_is_valid("a b") &&
              !snapshot_key_is_valid("a\x7f") && !snapshot_key_is_valid("\xc3\xa4") &&
              !snapshot_key_is_valid(repeated('k', 256)));
}

static void random_ones_are_valid_and_differ(void) {
        _cleanup_free_ char *a = NULL, *b = NULL, *odd = NULL;
        CHECK_OK(identifier_new_random(32, &a));
        CHECK_OK(identifier_new_random(32, &b));
        CHECK_OK(identifier_new_random(7, &odd));
        CHECK_INT(strlen(a), 32);
        CHECK_INT(strspn(a, "0123456789abcdef"), 32);
        CHECK_INT(strlen(odd), 7);
        CHECK(strcmp(a, b) != 0);
        CHECK(identifier_is_valid(a));
}

static void namespaces_of_users(void) {
        char buffer[NAMESPACE_SIZE];
        CHECK_STRING(namespace_of_uid(0, buffer), "system");
        CHECK_STRING(buffer, "system"); /* the buffer has it too */
        CHECK_STRING(namespace_of_uid(1000, buffer), "u1000");
        CHECK_STRING(namespace_of_uid(UINT32_MAX, buffer), "u4294967295");
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(identifiers_are_those_of_containerd),
                CHECK_CASE(snapshot_keys_are_printable),
                CHECK_CASE(random_ones_are_valid_and_differ),
                CHECK_CASE(namespaces_of_users),
                {},
        });
}
