/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* config.mounts. Bind sources (mount-source.h) are there already when init attaches them in their order.
 * What belongs to a namespace of the container (proc, sysfs, mqueue, tmpfs, …) is made by init, which is in
 * it. */

#include "runtime/plan.h"

/* The options, checked; nothing is opened. */
int mounts_prepare(ContainerPlan *plan, Fault *fault);
void mounts_done(ContainerPlan *plan);

/* Init's step: all of them, in the order of the configuration. */
int mounts_step_attach(ContainerPlan *plan, Fault *fault);

/* True if a mount of the configuration is at this path. */
bool mounts_have(const ContainerPlan *plan, const char *destination, bool bind_only);
