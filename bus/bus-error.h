/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The one map from an errno with a meaning (lib/fault.h) to the name of a D-Bus error, and back for what a
 * sibling answered. */

#include <systemd/sd-bus.h>

#include "lib/fault.h"

/* For a handler: return bus_error_set_fault(error, r, &fault); gives sd-bus an error with name and sentence.
 * Returns negative. */
int bus_error_set_fault(sd_bus_error *error, int r, const Fault *fault);

/* For an answer that comes later than the handler's return. */
int bus_reply_fault(sd_bus_message *message, int r, const Fault *fault);

/* The error name for an errno: never NULL ("org.crt.Error.Failed"). */
const char *bus_error_name(int r);

/* What another service answered, as a fault with its sentence. Returns the negative errno; 0 if message is
 * no error. */
int bus_error_to_fault(const sd_bus_error *error, Fault *fault);

/* Exactly -EINVAL with a sentence: the standard org.freedesktop.DBus.Error.InvalidArgs. */
#define bus_invalid_argument(error, ...) sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS, __VA_ARGS__)
