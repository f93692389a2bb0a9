/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Freezing and thawing of all processes of a cgroup. */

#include <stdbool.h>

#include "lib/fault.h"

/* Returns when every process is frozen, or none is any more. -ETIMEDOUT if one can't be frozen; then all run
 * on. */
int freezer_set(int cgroup, bool frozen, Fault *fault);
