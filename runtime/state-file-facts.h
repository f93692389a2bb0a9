/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a container's state says that is not in its state.json: which cgroup it has, whether that is frozen,
 * whose it is. */

#include "runtime/state-file.h"

bool state_file_is_frozen(const StateFile *state);

/* The name of the user who made it, or the number where there is no name. */
int state_file_find_owner(const StateFile *state, char **ret);

/* A member of what "state" answers while there is no state.json yet; NULL: none. */
json_object *state_file_early_value(const StateFile *state, const char *member);
