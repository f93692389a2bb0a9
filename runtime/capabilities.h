/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* config.process.capabilities and noNewPrivileges. What is not given is not held: a configuration without
 * capabilities makes a payload without any. */

#include "runtime/plan.h"

/* -EPERM with the name of the first capability that is asked for and that this process does not have. */
int capabilities_prepare(const ContainerPlan *plan, Fault *fault);

/* Init's steps: the bounding set while CAP_SETPCAP is still there, the other four after the change of user.
 */
int capabilities_step_bound(ContainerPlan *plan, Fault *fault);
int capabilities_step_set(ContainerPlan *plan, Fault *fault);
int capabilities_step_no_new_privileges(ContainerPlan *plan, Fault *fault);
