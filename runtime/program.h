/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* config.process.args, env and cwd: finding the program in the container, and executing it. */

#include "runtime/plan.h"

/* Init's steps. */
int program_step_make_directory(ContainerPlan *plan, Fault *fault);
int program_step_enter_directory(ContainerPlan *plan, Fault *fault);
int program_step_enter_directory_as_user(ContainerPlan *plan, Fault *fault);
int program_step_find(ContainerPlan *plan, Fault *fault);

/* Returns only when it failed. */
int program_execute(ContainerPlan *plan, Fault *fault);
