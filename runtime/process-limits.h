/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* config.process.rlimits and oomScoreAdj. Init sets its own limits shortly before it changes its user, so
 * that they do not bind its setting up. Inside a user namespace nobody may raise a limit: there the parent
 * makes room first. */

#include "runtime/plan.h"

/* By the parent. */
int process_limits_make_room(const ContainerPlan *plan, pid_t pid, Fault *fault);
int process_limits_set_oom_score(const ContainerPlan *plan, pid_t pid, Fault *fault);

/* Init's step. */
int process_limits_step_set(ContainerPlan *plan, Fault *fault);
