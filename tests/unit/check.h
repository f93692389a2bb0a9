/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A unit test is a list of named functions; its output is TAP. A failed check ends its case, not the others:
 *
 *   static void refuses_a_key_given_twice(void) { CHECK_ERROR(json_parse(…), -EBADMSG); }
 *   int main(void) { return check_run((const Check[]){ CHECK_CASE(refuses_a_key_given_twice), {} }); }
 */

#include <errno.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Check {
        const char *name;
        void (*function)(void);
} Check;

#define CHECK_CASE(function)                                                                                \
        { #function, function }

static jmp_buf check_jump;
__attribute__((unused)) static const char *check_skip_reason;

__attribute__((noreturn, unused)) static void check_end(const char *file, int line, const char *text) {
        printf("# %s:%i: %s\n", file, line, text);
        longjmp(check_jump, 1);
}

__attribute__((noreturn, unused)) static void check_skip(const char *reason) {
        check_skip_reason = reason;
        longjmp(check_jump, 2);
}

#define CHECK(condition)                                                                                    \
        do {                                                                                                \
                if (!(condition))                                                                           \
                        check_end(__FILE__, __LINE__, #condition);                                          \
        } while (0)

#define CHECK_FORMAT(condition, ...)                                                                        \
        do {                                                                                                \
                if (!(condition)) {                                                                         \
                        char _text[1024];                                                                   \
                        snprintf(_text, sizeof(_text), __VA_ARGS__);                                        \
                        check_end(__FILE__, __LINE__, _text);                                               \
                }                                                                                           \
        } while (0)

#define CHECK_INT(value, expected)                                                                          \
        do {                                                                                                \
                long long _v = (long long) (value), _e = (long long) (expected);                            \
                CHECK_FORMAT(_v == _e, "%s is %lli, expected %lli", #value, _v, _e);                        \
        } while (0)
#define CHECK_OK(value)                                                                                     \
        do {                                                                                                \
                long long _v = (long long) (value);                                                         \
                CHECK_FORMAT(_v >= 0, "%s failed: %s", #value, strerror((int) -_v));                        \
        } while (0)
#define CHECK_ERROR(value, expected) CHECK_INT(value, expected)
#define CHECK_STRING(value, expected)                                                                       \
        do {                                                                                                \
                const char *_v = (value), *_e = (expected);                                                 \
                CHECK_FORMAT(_v &&strcmp(_v, _e) == 0, "%s is '%s', expected '%s'", #value,                 \
                             _v ? _v : "NULL", _e);                                                         \
        } while (0)
#define CHECK_CONTAINS(value, part)                                                                         \
        do {                                                                                                \
                const char *_v = (value), *_e = (part);                                                     \
                CHECK_FORMAT(_v &&strstr(_v, _e), "%s is '%s', which lacks '%s'", #value, _v ? _v : "NULL", \
                             _e);                                                                           \
        } while (0)

__attribute__((unused)) static int check_run(const Check *checks) {
        volatile unsigned count = 0, failed = 0;
        for (const Check *c = checks; c->name; c++)
                count++;
        printf("1..%u\n", count);
        for (volatile unsigned i = 0; i < count; i++) {
                int how = setjmp(check_jump);
                if (how == 0)
                        checks[i].function();
                if (how == 1)
                        failed++;
                printf("%s %u - %s%s%s\n", how == 1 ? "not ok" : "ok", i + 1, checks[i].name,
                       how == 2 ? " # SKIP " : "", how == 2 ? check_skip_reason : "");
                fflush(stdout);
        }
        return failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
