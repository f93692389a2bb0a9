/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The two kinds of hooks that run after a container's program was started, and after the container is gone
 * (runtime.md, "Lifecycle"). */

#include "runtime/state-file.h"

/* For the hooks that run when others may work on the container again, or delete it: read before that. NULL
 * when there are none. */
int oci_hooks_prepare_poststart(const StateFile *state, RuntimeConfig **ret, Fault *fault);
/* The first that fails stops the container: its init is killed. */
int oci_hooks_poststart(const RuntimeConfig *config, const StateFile *state, Fault *fault);

/* A failure is logged, and no more. The configuration is read before the state is removed, and the hooks run
 * after that: NULL when there are none. */
RuntimeConfig *oci_hooks_prepare_poststop(const StateFile *state);
void oci_hooks_poststop(const RuntimeConfig *config, const char *id, const char *bundle);
