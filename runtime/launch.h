/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* clone3(2) of init, straight into its namespaces and its cgroup. */

#include "runtime/plan.h"

typedef void (*LaunchMain)(ContainerPlan *plan) _noreturn_;

/* main runs in the child. */
int launch_init(ContainerPlan *plan, LaunchMain main, pid_t *ret_pid, int *ret_pidfd, Fault *fault);
