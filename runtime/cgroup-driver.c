/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/cgroup-driver.h"

#include <errno.h>

#include "runtime/cgroup-resources.h"
#include "runtime/cgroup.h"

static int create(int hierarchy, const char *path, const RuntimeConfig *config, int *ret_holder,
                  Fault *fault) {
        *ret_holder = -EBADF;
        return cgroup_create(hierarchy, path, &config->resources, fault);
}

const CgroupDriver cgroup_driver_direct = {
        .name = "cgroupfs",
        .choose = cgroup_choose_path,
        .create = create,
};

bool cgroup_driver_is_dispensable(const RuntimeConfig *config) {
        const RuntimeNamespace *user = &config->namespaces[RUNTIME_NAMESPACE_USER];
        return user->wanted && cgroup_resources_controllers(&config->resources) == 0;
}
