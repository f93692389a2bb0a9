/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/cgroup-delegation.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/path.h"
#include "lib/strv.h"

#define LIST "/sys/kernel/cgroup/delegate"
#define LIST_WITHOUT "cgroup.procs\ncgroup.subtree_control\ncgroup.threads"

static bool is_seen_writable(const ContainerPlan *plan) {
        for (size_t i = 0; i < plan->mount_count; i++) {
                const MountPlan *mount = &plan->mounts[i];
                if (string_equal(mount->config->destination, "/sys/fs/cgroup") && mount->config->type &&
                    string_after(mount->config->type, "cgroup"))
                        return !((mount->options.set | mount->options.recursive_set) & MOUNT_ATTR_RDONLY);
        }
        return false;
}

/* The user as the host knows it. */
static bool find_owner(const ContainerPlan *plan, uid_t *ret) {
        const RuntimeIdMappings *mappings = &plan->config->mappings;
        uint32_t user = plan->config->process.uid;
        *ret = user;
        if (!plan_has_user_namespace(plan))
                return true;
        for (size_t i = 0; i < mappings->uid_count; i++) {
                const RuntimeIdMapping *m = &mappings->uids[i];
                if (user >= m->container_id && user - m->container_id < m->size) {
                        *ret = m->host_id + (user - m->container_id);
                        return true;
                }
        }
        return false;
}

int cgroup_delegation_give(const ContainerPlan *plan, Fault *fault) {
        int cgroup = plan->request->cgroup_fd;
        _cleanup_free_ char *list = NULL;
        uid_t owner;
        if (cgroup < 0 || !plan_has_new_namespace(plan, RUNTIME_NAMESPACE_CGROUP) ||
            !is_seen_writable(plan) || !find_owner(plan, &owner) || owner == geteuid())
                return 0;
        if (fchown(cgroup, owner, (gid_t) -1) < 0)
                return fault_set_errno(fault, -errno, "giving the cgroup to user %u", owner);
        if (fd_read_line_at(AT_FDCWD, LIST, &list) < 0 && !(list = strdup(LIST_WITHOUT)))
                return -ENOMEM;
        char *state = NULL;
        for (char *name = strtok_r(list, "\n", &state); name; name = strtok_r(NULL, "\n", &state))
                if (path_is_component(name) &&
                    fchownat(cgroup, name, owner, (gid_t) -1, AT_SYMLINK_NOFOLLOW) < 0 && errno != ENOENT)
                        return fault_set_errno(fault, -errno, "giving %s of the cgroup to user %u", name,
                                               owner);
        return 0;
}
