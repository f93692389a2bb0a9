/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Who makes a container's cgroup: this process itself (cgroup.h), or systemd (systemd-scope.h). Either way
 * the container is cloned straight into it, limits are written into its files, and cgroup_remove() ends it.
 */

#include "lib/fault.h"
#include "lib/runtime-config.h"

typedef struct CgroupDriver {
        const char *name;

        /* Where it will be, beneath the hierarchy's root. */
        int (*choose)(const RuntimeConfig *config, const char *id, char **ret, Fault *fault);

        /* Makes it with the controllers that its resources need, and returns the directory. *ret_holder: a
         * pidfd of a process in it that is to be killed and reaped as soon as the container's own is there;
         * -EBADF: none. */
        int (*create)(int hierarchy, const char *path, const RuntimeConfig *config, int *ret_holder,
                      Fault *fault);
} CgroupDriver;

extern const CgroupDriver cgroup_driver_direct;

/* True if nothing of the configuration is lost without a cgroup: what an ordinary user without rights over
 * any can have. In a user namespace there are no devices that a filter could close. */
bool cgroup_driver_is_dispensable(const RuntimeConfig *config);
