/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* config.linux.netDevices: network interfaces that move from the runtime's network namespace into the
 * container's, with their permanent global addresses, perhaps under another name, and are set up there. */

#include "runtime/plan.h"

int net_devices_prepare(const ContainerPlan *plan, Fault *fault);

/* By the parent, when init has its namespaces. */
int net_devices_move(ContainerPlan *plan, pid_t pid, Fault *fault);

/* When nothing comes of the container after all. */
void net_devices_take_back(ContainerPlan *plan);
void net_devices_done(ContainerPlan *plan);
