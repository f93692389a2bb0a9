/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Lists of what a cloned process does before its execve(2), and the part that is the same for a container's
 * init and for a process that joins it: from where both are inside to where they execute the program. */

#include "runtime/plan.h"

typedef struct Step {
        const char *name; /* in sentences: "<name>: <what went wrong>" */
        int (*run)(ContainerPlan *plan, Fault *fault);
} Step;

/* In their order. The first that fails is told to the parent, and the process ends. */
void steps_run(ContainerPlan *plan, const Step *steps, size_t count);
_noreturn_ void steps_fail(int channel, const char *step, int error, const Fault *fault);

/* The last ones. Afterwards only write() and read() may be used: a seccomp filter is in force that knows
 * nothing of the runtime. */
#define STEPS_TO_PROGRAM 12
extern const Step steps_to_program[STEPS_TO_PROGRAM];
