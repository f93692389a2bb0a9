/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a process that joins a container does between clone3(2) and execve(2): a list of steps, in
 * exec-steps.c. */

#include "runtime/plan.h"

typedef struct ExecPlan {
        ContainerPlan plan;
        int init;             /* weak: pidfd of the container's init */
        char *own_pid;        /* weak: see exec_start() */
        int namespaces;       /* CLONE_NEW*, that are still to be joined */
        bool oom_score_tried; /* by the launcher, from which it is inherited */
        int oom_score_result;
} ExecPlan;

/* Of this process, as config.process.oomScoreAdj has it. */
int exec_steps_set_oom_score(const ContainerPlan *plan);

/* Runs in the cloned child. */
_noreturn_ void exec_steps_run(ExecPlan *exec);
