/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The way to another root where pivot_root(2) has none: out of an initramfs, whose "/" can't be exchanged.
 * Elsewhere it is not taken even if it was asked for: what it leaves below would be the machine's root. */

#include "runtime/plan.h"

/* In a user namespace the host's mounts are locked together, and could not be taken away. */
int no_pivot_check(const ContainerPlan *plan, Fault *fault);

/* By init, in its own mount namespace, whose working directory is the new root already. */
int no_pivot_change_root(const ContainerPlan *plan, Fault *fault);
