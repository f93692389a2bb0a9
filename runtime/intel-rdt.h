/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* config.linux.intelRdt: the container's process in a class of service of resctrl (config-linux.md,
 * "IntelRdt"). */

#include "runtime/plan.h"

/* The mounted resctrl file system has to be there. */
int intel_rdt_prepare(ContainerPlan *plan, Fault *fault);

/* By the parent. */
int intel_rdt_join(ContainerPlan *plan, pid_t pid, Fault *fault);

/* What was made for the container is removed: a class named after it, and its monitoring group. A no-op for
 * a configuration without. */
void intel_rdt_remove(const RuntimeConfig *config, const char *id);

/* The parts that take resctrl as a directory, for tests. *ret_made: the class was made. */
int intel_rdt_join_at(int resctrl, const RuntimeIntelRdt *rdt, const char *id, pid_t pid, bool *ret_made,
                      Fault *fault);
void intel_rdt_remove_at(int resctrl, const RuntimeIntelRdt *rdt, const char *id);
