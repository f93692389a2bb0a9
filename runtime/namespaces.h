/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* config.linux.namespaces: which are made with init, which are joined, and by whom. */

#include "runtime/plan.h"

/* Opens the namespaces that are joined, and checks that each is of its type. */
int namespaces_prepare(ContainerPlan *plan, Fault *fault);

/* CLONE_NEW* of what clone3() makes. The cgroup namespace is not among them: clone3() would root it in the
 * parent's cgroup instead of the one that it clones into. */
uint64_t namespaces_clone_flags(const ContainerPlan *plan);

/* CLONE_NEW* of all that a container of this configuration has, for a process that joins it with setns(2)
 * and a pidfd. */
int namespaces_to_enter(const RuntimeConfig *config);

/* True if there has to be a process between the caller and init: setns(2) takes a pid namespace only for
 * children; a new user namespace has no right to join those of the caller, and mounts have to be laid out
 * for it (staging.h). */
bool namespaces_need_launcher(const ContainerPlan *plan);

/* Joins all; the caller is the launcher, or init where none is needed. */
int namespaces_join(ContainerPlan *plan, Fault *fault);

/* Init's steps. */
int namespaces_step_join(ContainerPlan *plan, Fault *fault);
int namespaces_step_time(ContainerPlan *plan, Fault *fault);
int namespaces_step_cgroup(ContainerPlan *plan, Fault *fault);
int namespaces_step_names(ContainerPlan *plan, Fault *fault);
