/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Whose the payload is: id mappings of its user namespace, user, groups, umask. */

#include "runtime/plan.h"

/* What an ordinary user's mappings do not allow is refused. */
int user_prepare(const ContainerPlan *plan, Fault *fault);

/* The parent writes uid_map and gid_map of init (or of the launcher), which waits for that. */
int user_write_mappings(const ContainerPlan *plan, pid_t pid, Fault *fault);

/* Waits for the parent's word that this is done. */
int user_wait_for_mappings(const ContainerPlan *plan);

/* Init's steps. */
int user_step_wait_for_mappings(ContainerPlan *plan, Fault *fault);
int user_step_become_root(ContainerPlan *plan, Fault *fault);
int user_step_change(ContainerPlan *plan, Fault *fault);
