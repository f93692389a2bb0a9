/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Maps of strings to strings in OCI documents (annotations, labels), kept as a strv of key, value, key,
 * value, … */

#include "lib/fault.h"
#include "lib/json.h"
#include "lib/macros.h"

/* What crt itself says about things. A registry must not say it in crt's place: such keys are dropped. */
#define OCI_ANNOTATION_RESERVED "org.crt."

/* The object named key, at most LIMIT_ANNOTATIONS members, all strings. 1 found, 0 absent, -EBADMSG. */
int oci_annotations_parse(const JsonNode *node, const char *key, char ***ret, Fault *fault);

/* The value, or NULL. */
const char *oci_annotations_get(char *const *annotations, const char *key);
