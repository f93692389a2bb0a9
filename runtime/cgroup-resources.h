/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* config.linux.resources in the files of one cgroup v2 directory (the conversions of config-linux.md). */

#include "lib/fault.h"
#include "lib/runtime-config.h"

/* The controllers that the resources need, one bit for each name of cgroup_resources_controller_name(). */
unsigned cgroup_resources_controllers(const RuntimeResources *resources);
const char *cgroup_resources_controller_name(unsigned bit);
#define CGROUP_RESOURCES_CONTROLLERS 8U

/* -EOPNOTSUPP for what only cgroup v1 had. */
int cgroup_resources_check(const RuntimeResources *resources, Fault *fault);

/* -EOPNOTSUPP when the kernel or the parent cgroup does not give what is asked for; the sentence names it.
 */
int cgroup_resources_apply(int cgroup, const RuntimeResources *resources, Fault *fault);

/* The same without the devices: they are filtered as they were when the container was made. */
int cgroup_resources_update(int cgroup, const RuntimeResources *resources, Fault *fault);

/* cpu.weight of cpu.shares. */
unsigned cgroup_resources_weight_of_shares(uint64_t shares);
