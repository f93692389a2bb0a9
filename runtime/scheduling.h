/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* How the kernel treats the process: config.process.scheduler and ioPriority, which its parent sets with its
 * own rights; config.linux.memoryPolicy and personality, which only the process itself can set. */

#include <sys/types.h>

#include "lib/runtime-config.h"
#include "runtime/plan.h"

int scheduling_set(const RuntimeProcess *process, pid_t pid, Fault *fault);

/* The processors of a list ("0-2,7"): field names it in the sentence. */
int scheduling_set_affinity(pid_t pid, const char *list, const char *field, Fault *fault);

/* Init's steps. */
int scheduling_step_memory_policy(ContainerPlan *plan, Fault *fault);
int scheduling_step_personality(ContainerPlan *plan, Fault *fault);
