/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* $HOME out of the container's own /etc/passwd, where config.process.env has none: other runtimes set it,
 * and their callers count on that. */

#include "runtime/plan.h"

/* Init's step. */
int home_directory_step_set(ContainerPlan *plan, Fault *fault);

/* The home directory of uid in the text of a passwd(5) file, as a fresh string; "/" without one. */
int home_directory_find(char *passwd, unsigned uid, char **ret);
