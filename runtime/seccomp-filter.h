/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* config.linux.seccomp compiled to BPF by libseccomp, as a binary tree: loading it makes the kernel run it
 * for every system call number, so a linear filter costs several times as much. */

#include <linux/filter.h>

#include "lib/fault.h"
#include "lib/runtime-config.h"
#include "runtime/plan.h"

/* *ret_filter is owned by the caller. */
int seccomp_filter_compile(const RuntimeSeccomp *seccomp, struct sock_filter **ret_filter, size_t *ret_count,
                           Fault *fault);

/* Compiled, out of the cache, or as the request brings it. */
int seccomp_filter_prepare(ContainerPlan *plan, Fault *fault);

/* Init's steps. Without no_new_privs the filter has to be loaded while CAP_SYS_ADMIN is still there, with it
 * as late as possible. */
int seccomp_filter_step_early(ContainerPlan *plan, Fault *fault);
int seccomp_filter_step_late(ContainerPlan *plan, Fault *fault);
