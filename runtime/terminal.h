/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* config.process.terminal: a pseudoterminal of the container's own devpts. */

#include "runtime/plan.h"

int terminal_prepare(const ContainerPlan *plan, Fault *fault);

/* Init's step: opens the pair, puts the slave on /dev/console, sends the master to the parent. */
int terminal_step_open(ContainerPlan *plan, Fault *fault);

/* The same for a process that joins a container: a pair of its own, by the devpts that is there. */
int terminal_step_open_another(ContainerPlan *plan, Fault *fault);
