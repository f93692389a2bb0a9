/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* config.mounts. Bind sources are cloned, with their attributes, by the parent: it sees the host's tree.
 * What belongs to a namespace of the container (proc, sysfs, mqueue, tmpfs, …) is made by init, which is in
 * it. */

#include "runtime/plan.h"

int mounts_prepare(ContainerPlan *plan, Fault *fault);
void mounts_done(ContainerPlan *plan);

/* Init's step: all of them, in the order of the configuration. */
int mounts_step_attach(ContainerPlan *plan, Fault *fault);

/* True if a mount of the configuration is at this path. */
bool mounts_have(const ContainerPlan *plan, const char *destination, bool bind_only);
