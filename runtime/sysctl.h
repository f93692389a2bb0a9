/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* config.linux.sysctl: only what belongs to a namespace of the container may be changed. */

#include "runtime/plan.h"

int sysctl_prepare(const ContainerPlan *plan, Fault *fault);

/* Init's step. */
int sysctl_step_write(ContainerPlan *plan, Fault *fault);
