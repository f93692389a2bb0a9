/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Ownership by cleanup attribute, handing over, and the few macros that every file uses. */

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>

#define _cleanup_(f) __attribute__((cleanup(f)))
#define _cleanup_free_ _cleanup_(free_pointer)
#define _printf_(text, first) __attribute__((format(printf, text, first)))
#define _pure_ __attribute__((pure))
#define _const_ __attribute__((const))
#define _unused_ __attribute__((unused))
#define _noreturn_ __attribute__((noreturn))

#define ELEMENTS_OF(array) (sizeof(array) / sizeof((array)[0]))
#define MIN_OF(a, b) ((a) < (b) ? (a) : (b))
#define MAX_OF(a, b) ((a) > (b) ? (a) : (b))

/* Hands over what an owning local holds, which is empty afterwards. */
#define TAKE(variable, empty)                                                                               \
        ({                                                                                                  \
                __typeof__(variable) *_place = &(variable);                                                 \
                __typeof__(variable) _taken = *_place;                                                      \
                *_place = (empty);                                                                          \
                _taken;                                                                                     \
        })
#define TAKE_PTR(pointer) TAKE(pointer, NULL)
#define TAKE_FD(fd) TAKE(fd, -EBADF)

/* x_freep(X **) from a destructor x_free(X *) that returns NULL. */
#define DEFINE_CLEANUP(type, free_function)                                                                 \
        static inline void free_function##p(type *pointer) {                                                \
                if (*pointer)                                                                               \
                        *pointer = free_function(*pointer);                                                 \
        }                                                                                                   \
        struct _swallow_semicolon_##free_function

/* The same for a foreign destructor that returns nothing. */
#define DEFINE_CLEANUP_VOID(type, free_function)                                                            \
        static inline void free_function##p(type *pointer) {                                                \
                if (*pointer) {                                                                             \
                        free_function(*pointer);                                                            \
                        *pointer = NULL;                                                                    \
                }                                                                                           \
        }                                                                                                   \
        struct _swallow_semicolon_##free_function

static inline void free_pointer(void *pointer) {
        free(*(void **) pointer);
}

/* free() in an expression: pointer = mfree(pointer). */
static inline void *mfree(void *pointer) {
        free(pointer);
        return NULL;
}

#define new0(type, count) ((type *) calloc((count), sizeof(type)))
