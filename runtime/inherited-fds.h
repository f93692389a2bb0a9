/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The payload's descriptors: 0, 1, 2, those handed on from 3 upwards, and no others. */

#include "runtime/plan.h"

/* Init's step. Afterwards only the sockets and pipes to the parent are open beside them, close-on-exec. */
int inherited_fds_step_arrange(ContainerPlan *plan, Fault *fault);
