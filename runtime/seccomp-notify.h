/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* SCMP_ACT_NOTIFY: the listener of the filter that init has loaded goes to the agent at
 * config.linux.seccomp.listenerPath, with the container process state (config-linux.md). */

#include "runtime/plan.h"

int seccomp_notify_prepare(const ContainerPlan *plan, Fault *fault);

/* By the parent, while init waits: number is init's own of the listener. */
int seccomp_notify_hand_over(const ContainerPlan *plan, pid_t pid, int pidfd, int number, Fault *fault);
