/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The container's /dev: the default devices and links of config-linux.md, and config.linux.devices. */

#include "runtime/plan.h"

/* Init's step. */
int devices_step_create(ContainerPlan *plan, Fault *fault);

/* The container's /dev itself; -ELOOP if it is a symbolic link. */
int devices_open_directory(const ContainerPlan *plan, Fault *fault);
