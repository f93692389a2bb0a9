/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* JSON on standard output. */

#include <json-c/json.h>
#include <stdbool.h>

#include "lib/fault.h"

/* In several lines, or in one; with a newline at the end. */
int oci_output_json(json_object *document, bool pretty, Fault *fault);

/* Adds a member, whose value is taken in any case; NULL for a value is out of memory. */
int oci_output_add(json_object *object, const char *key, json_object *value);
