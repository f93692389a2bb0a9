/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* How mounts reach a container that has a user namespace. A detached mount that is simply moved there has
 * flags that the container's root may change: a read-only, nosuid or nodev mount of the host would be so no
 * more. The kernel locks flags only when it copies a mount namespace for another user namespace. So the
 * launcher lays the mounts out in a namespace of its own, init is cloned with a copy of that, and takes the
 * copies. */

#include "runtime/plan.h"

/* By the launcher, with the caller's rights; afterwards its working directory is where the mounts are. */
int staging_lay_out(ContainerPlan *plan, Fault *fault);

/* Init's step. */
int staging_step_take(ContainerPlan *plan, Fault *fault);
