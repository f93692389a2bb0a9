/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* clone3(2): of init, straight into its namespaces and its cgroup, and of others into that. */

#include "runtime/plan.h"

typedef void (*LaunchMain)(ContainerPlan *plan) _noreturn_;

/* main runs in the child. */
int launch_init(ContainerPlan *plan, LaunchMain main, pid_t *ret_pid, int *ret_pidfd, Fault *fault);

/* Like fork(), 0 in the child, but into a cgroup (-EBADF: the caller's own) and with CLONE_PIDFD and these
 * flags. A negative errno on failure. */
pid_t launch_clone(int cgroup, uint64_t flags, int *ret_pidfd);
