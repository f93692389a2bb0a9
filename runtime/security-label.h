/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* config.process.apparmorProfile and selinuxLabel: what the payload becomes with its execve(2). */

#include "runtime/plan.h"

/* -EOPNOTSUPP where this kernel does not run the module: a profile that is asked for is not left out. */
int security_label_prepare(const ContainerPlan *plan, Fault *fault);

/* Init's step, while it still sees the caller's procfs: the container's own could be made to swallow it
 * (CVE-2019-16884). */
int security_label_step_set(ContainerPlan *plan, Fault *fault);
