/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The container's root file system: taken as a detached mount, moved into init's mount namespace, and made
 * "/" with pivot_root(2). */

#include "runtime/plan.h"

int rootfs_prepare(ContainerPlan *plan, Fault *fault);

/* Makes every mount of this process's own mount namespace private. */
int rootfs_cut_off_host(Fault *fault);

/* Init's steps. */
int rootfs_step_attach(ContainerPlan *plan, Fault *fault);
int rootfs_step_readonly(ContainerPlan *plan, Fault *fault);
int rootfs_step_pivot(ContainerPlan *plan, Fault *fault);
