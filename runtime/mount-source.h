/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Sources of bind mounts, cloned as detached mounts with their attributes and id mappings by a process that
 * sees the host's tree: the parent, or the launcher where the parent has no right to. */

#include "runtime/plan.h"

int mount_source_open_all(ContainerPlan *plan, Fault *fault);

/* mount_setattr(2), if there is anything to set. */
int mount_source_set_attributes(int mount_fd, uint64_t set, uint64_t clear, uint64_t propagation,
                                bool recursive);
