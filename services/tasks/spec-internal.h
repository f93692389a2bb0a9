/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The parts of the runtime configuration that the spec builder puts together: each a fresh object of json-c,
 * or NULL without memory. */

#include <json-c/json.h>

#include "services/tasks/spec.h"

/* Members and items belong to the object afterwards, even when this fails; -ENOMEM. A NULL value is
 * an allocation that failed. */
int spec_add(json_object *object, const char *key, json_object *value);
int spec_append(json_object *array, json_object *value);

json_object *spec_string_array(char *const *strings);
/* From a table that ends with NULL. */
json_object *spec_name_array(const char *const *names);

/* process: -EINVAL with a sentence for what cannot be run. */
int spec_process_new(const SpecRequest *request, char *const *command, json_object **ret, Fault *fault);
/* entrypoint and arguments as one list; -EINVAL if there is nothing to run. */
int spec_command(const SpecRequest *request, char ***ret, Fault *fault);

int spec_mounts_new(const SpecRequest *request, json_object **ret, Fault *fault);
json_object *spec_linux_new(void);
json_object *spec_seccomp_new(void);
