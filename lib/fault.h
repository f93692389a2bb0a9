/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A Fault is an error with a sentence: a negative errno that the caller can decide on, and a text that the
 * person who made the request can act on. Functions that take a `Fault *` accept NULL. */

#include <stdarg.h>

#include "lib/macros.h"

typedef struct Fault {
        int error; /* 0 or a negative errno; bus/bus-error.c maps it to a D-Bus error name */
        char *text;
} Fault;

#define FAULT_NULL ((Fault){ 0 })

/* The errno values with a meaning of their own throughout crt (the D-Bus name is what a client sees):
 *
 *   -ENOENT     NotFound              -EEXIST    AlreadyExists
 *   -EBUSY      FailedPrecondition    -EUCLEAN   DigestMismatch (bytes are not what their digest says)
 *   -EBADMSG    BadContent (foreign data is malformed or breaks its specification)
 *   -EDQUOT     LimitsExceeded        -ENOSPC    NoSpace
 *   -EHOSTUNREACH Unavailable (registry, network, sibling service)
 *   -ENOKEY     Unauthorized (a registry refused the credentials)
 *   -ECANCELED  Cancelled             -EOPNOTSUPP NotSupported
 *   -EINVAL     InvalidArgs           -EACCES    AccessDenied
 */

/* Sets *fault, unless it is set already: the first sentence is the one nearest to the cause. Returns error.
 */
int fault_set(Fault *fault, int error, const char *format, ...) _printf_(3, 4);

int fault_set_va(Fault *fault, int error, const char *format, va_list arguments) _printf_(3, 0);

/* As fault_set(), with ": <strerror>" appended. */
int fault_set_errno(Fault *fault, int error, const char *format, ...) _printf_(3, 4);

/* Puts "<format>: " before a sentence that is there already; if none is there, as fault_set_errno(). */
int fault_prefix(Fault *fault, int error, const char *format, ...) _printf_(3, 4);

/* The sentence, or strerror of the error: never NULL. */
const char *fault_text(const Fault *fault, int error);

/* Moves a fault: *to receives it if it is not set yet. */
void fault_move(Fault *to, Fault *from);

void fault_done(Fault *fault);
