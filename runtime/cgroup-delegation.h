/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A cgroup that the container's user may divide further (config-linux.md, "Cgroup ownership"): it sees it
 * writable, through a cgroup namespace of its own. Limits stay out of its reach. */

#include "runtime/plan.h"

/* By the parent. Nothing for a container that sees its cgroup read-only or not at all. */
int cgroup_delegation_give(const ContainerPlan *plan, Fault *fault);
