/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* SCMP_ACT_NOTIFY: the listener of the filter that init has loaded goes to the agent at
 * config.linux.seccomp.listenerPath, with the container process state (config-linux.md). */

#include "runtime/hooks.h"
#include "runtime/plan.h"

int seccomp_notify_prepare(const ContainerPlan *plan, Fault *fault);

/* By the process with the filter. Whoever has loaded it may do no more than write and read: a thread that
 * was made before, and has no filter, sends the listener. Nobody needs a right over that process to take it.
 */
int seccomp_notify_start_courier(ContainerPlan *plan, Fault *fault);
/* Gives it the listener, and waits until the parent has handed it over. */
int seccomp_notify_send(const ContainerPlan *plan, int listener);

/* By the parent, while pid waits; state is that of the container which the process is in. */
int seccomp_notify_hand_over(const ContainerPlan *plan, pid_t pid, const HookState *state, int listener,
                             Fault *fault);
