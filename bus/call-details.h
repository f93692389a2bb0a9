/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a method call is about, read from its path and arguments before it is dispatched: for authorization.
 */

#include <systemd/sd-bus.h>

#include "lib/macros.h"

typedef struct CallDetails {
        char *namespace; /* of the object's path, or the option "namespace"; NULL: the caller's own */
        char *object;    /* of the object's path; NULL if the path is not one of an object */
        char *argument;  /* the first argument, if that is a string; else NULL */
        char *second;    /* the same of the second argument */
        char *option;    /* the string option that was asked for; else NULL */
} CallDetails;

/* Leaves the message rewound. Malformed options are not reported here: the handler's parser does that. */
int call_details_read(sd_bus_message *message, const char *root_path, const char *option, CallDetails *ret);
void call_details_done(CallDetails *details);
