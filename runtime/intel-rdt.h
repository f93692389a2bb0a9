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

/* Other lines for the class of a container that has one: "--l3-cache-schema" and "--mem-bw-schema" of
 * update. NULL: not given. All that is in the class is under them. */
int intel_rdt_update(const RuntimeConfig *config, const char *id, const char *l3_schema,
                     const char *bandwidth, Fault *fault);

/* The parts that take resctrl as a directory, for tests. *ret_made: the class was made. */
int intel_rdt_join_at(int resctrl, const RuntimeIntelRdt *rdt, const char *id, pid_t pid, bool *ret_made,
                      Fault *fault);
int intel_rdt_update_at(int resctrl, const char *class, const char *l3_schema, const char *bandwidth,
                        Fault *fault);
void intel_rdt_remove_at(int resctrl, const RuntimeIntelRdt *rdt, const char *id);
