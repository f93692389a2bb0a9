/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the container's init does between clone3(2) and execve(2): a list of steps, in init-steps.c. */

#include "runtime/plan.h"

/* Runs in the cloned child. */
_noreturn_ void init_steps_run(ContainerPlan *plan);

/* For tests: the names of the steps in their order, NULL-terminated. */
const char *const *init_steps_names(void);
