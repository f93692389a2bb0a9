/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* config.process.rlimits and oomScoreAdj. The parent sets them on init while that waits for its start:
 * inside a user namespace init could not raise them, and its own setting up is not bound by them. */

#include "runtime/plan.h"

int process_limits_apply(const ContainerPlan *plan, pid_t pid, Fault *fault);
