/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* config.process.capabilities and noNewPrivileges. What is not given is not held: a configuration without
 * capabilities makes a payload without any. */

#include <linux/capability.h>
#include <stdbool.h>

#include "runtime/plan.h"

/* What of them this process can grant goes into the plan. The specification wants the rest mentioned as a
 * warning, and no failure: in a restricted environment a container gets what there is. */
int capabilities_prepare(ContainerPlan *plan, Fault *fault);

/* True if this process itself has it, over what belongs to its own user namespace. */
bool capabilities_have_own(unsigned number);

/* Init's steps: the bounding set while CAP_SETPCAP is still there, the other four after the change of user.
 */
int capabilities_step_bound(ContainerPlan *plan, Fault *fault);
int capabilities_step_set(ContainerPlan *plan, Fault *fault);
int capabilities_step_no_new_privileges(ContainerPlan *plan, Fault *fault);
