/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* config.linux.maskedPaths and readonlyPaths: what the container's root may not read, or not write. */

#include "runtime/plan.h"

/* Init's steps. Paths that are not there are no error (config-linux.md, "Masked Paths"). */
int masked_paths_step_readonly(ContainerPlan *plan, Fault *fault);
int masked_paths_step_mask(ContainerPlan *plan, Fault *fault);
