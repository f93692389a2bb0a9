/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* config.linux.resources.devices as a BPF program on the cgroup, which is how cgroup v2 filters devices. */

#include <linux/bpf.h>
#include <stddef.h>

#include "lib/fault.h"
#include "lib/runtime-config.h"

/* The rules in their order, of which the last that matches decides. The default devices of /dev and making
 * device nodes (not opening them) are always allowed; what no rule matches is denied. */
int device_filter_attach(int cgroup, const RuntimeDeviceRule *rules, size_t count, Fault *fault);

/* The program alone, for tests. */
int device_filter_build(const RuntimeDeviceRule *rules, size_t count, struct bpf_insn **ret,
                        size_t *ret_count);
