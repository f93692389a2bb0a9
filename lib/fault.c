/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/fault.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/strv.h"

/* What others wrote may be part of the sentence, and it goes to terminals and to the bus. */
static void fault_assign(Fault *fault, int error, char *text) {
        if (text)
                string_make_printable(text);
        fault->error = error;
        fault->text = text;
}

/* NULL where there is no memory for it. */
static _printf_(1, 0) char *format_text(const char *format, va_list arguments) {
        char *text;
        return vasprintf(&text, format, arguments) < 0 ? NULL : text;
}

int fault_set_va(Fault *fault, int error, const char *format, va_list arguments) {
        assert(error < 0);
        if (fault && !fault->error)
                fault_assign(fault, error, format_text(format, arguments));
        return error;
}

int fault_set(Fault *fault, int error, const char *format, ...) {
        va_list arguments;
        va_start(arguments, format);
        (void) fault_set_va(fault, error, format, arguments);
        va_end(arguments);
        return error;
}

int fault_set_errno(Fault *fault, int error, const char *format, ...) {
        assert(error < 0);
        if (!fault || fault->error)
                return error;

        va_list arguments;
        va_start(arguments, format);
        _cleanup_free_ char *text = format_text(format, arguments);
        va_end(arguments);

        char *whole = NULL;
        if (text && asprintf(&whole, "%s: %s", text, strerror(-error)) < 0)
                whole = NULL;
        fault_assign(fault, error, whole);
        return error;
}

int fault_prefix(Fault *fault, int error, const char *format, ...) {
        assert(error < 0);
        if (!fault)
                return error;

        va_list arguments;
        va_start(arguments, format);
        _cleanup_free_ char *prefix = format_text(format, arguments);
        va_end(arguments);
        if (!prefix)
                return error;

        if (!fault->error)
                return fault_set_errno(fault, error, "%s", prefix);

        char *whole = NULL;
        if (asprintf(&whole, "%s: %s", prefix, fault_text(fault, fault->error)) < 0)
                return error;
        string_make_printable(whole);
        free(fault->text);
        fault->text = whole;
        return error;
}

const char *fault_text(const Fault *fault, int error) {
        if (fault && fault->text)
                return fault->text;
        return strerror(error < 0 ? -error : error);
}

void fault_move(Fault *to, Fault *from) {
        if (!to || to->error) {
                fault_done(from);
                return;
        }
        *to = *from;
        *from = FAULT_NULL;
}

void fault_done(Fault *fault) {
        if (!fault)
                return;
        free(fault->text);
        *fault = FAULT_NULL;
}
