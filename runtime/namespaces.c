/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/namespaces.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "lib/fd.h"

static const int clone_flags[_RUNTIME_NAMESPACE_MAX] = {
        [RUNTIME_NAMESPACE_USER] = CLONE_NEWUSER,     [RUNTIME_NAMESPACE_MOUNT] = CLONE_NEWNS,
        [RUNTIME_NAMESPACE_PID] = CLONE_NEWPID,       [RUNTIME_NAMESPACE_NETWORK] = CLONE_NEWNET,
        [RUNTIME_NAMESPACE_IPC] = CLONE_NEWIPC,       [RUNTIME_NAMESPACE_UTS] = CLONE_NEWUTS,
        [RUNTIME_NAMESPACE_CGROUP] = CLONE_NEWCGROUP,
};

static int open_namespace(const char *path, RuntimeNamespaceType type, Fault *fault) {
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        if (fd < 0)
                return fault_set_errno(fault, -errno, "config.linux.namespaces: the %s namespace %s",
                                       runtime_namespace_to_string(type), path);
        if (ioctl(fd, NS_GET_NSTYPE) != clone_flags[type])
                return fault_set(fault, -EINVAL, "config.linux.namespaces: %s is not a %s namespace", path,
                                 runtime_namespace_to_string(type));
        return TAKE_FD(fd);
}

int namespaces_prepare(ContainerPlan *plan, Fault *fault) {
        if (!plan->config->namespaces[RUNTIME_NAMESPACE_MOUNT].wanted)
                return fault_set(fault, -EOPNOTSUPP,
                                 "config.linux.namespaces: a container without a mount namespace is not "
                                 "supported");
        for (RuntimeNamespaceType type = 0; type < _RUNTIME_NAMESPACE_MAX; type++) {
                const char *path = plan->config->namespaces[type].path;
                if (!path)
                        continue;
                plan->namespace_fds[type] = open_namespace(path, type, fault);
                if (plan->namespace_fds[type] < 0)
                        return plan->namespace_fds[type];
        }
        return 0;
}

uint64_t namespaces_clone_flags(const ContainerPlan *plan) {
        uint64_t flags = 0;
        for (RuntimeNamespaceType type = 0; type < _RUNTIME_NAMESPACE_MAX; type++)
                if (type != RUNTIME_NAMESPACE_CGROUP && plan_has_new_namespace(plan, type))
                        flags |= (uint64_t) clone_flags[type];
        return flags;
}

int namespaces_to_enter(const RuntimeConfig *config) {
        int flags = 0;
        for (RuntimeNamespaceType type = 0; type < _RUNTIME_NAMESPACE_MAX; type++)
                if (config->namespaces[type].wanted)
                        flags |= clone_flags[type];
        return flags;
}

bool namespaces_need_launcher(const ContainerPlan *plan) {
        return plan->namespace_fds[RUNTIME_NAMESPACE_PID] >= 0 || plan_has_user_namespace(plan);
}

static int join_one(ContainerPlan *plan, RuntimeNamespaceType type, Fault *fault) {
        if (setns(plan->namespace_fds[type], clone_flags[type]) < 0)
                return fault_set_errno(fault, -errno, "config.linux.namespaces: joining the %s namespace %s",
                                       runtime_namespace_to_string(type),
                                       plan->config->namespaces[type].path);
        plan->namespace_fds[type] = fd_close(plan->namespace_fds[type]);
        return 0;
}

/* A namespace may belong to the caller's user namespace (made by a network service, say) or to the one that
 * is joined: what is refused before joining that one is tried again afterwards. */
int namespaces_join(ContainerPlan *plan, Fault *fault) {
        bool user = plan->namespace_fds[RUNTIME_NAMESPACE_USER] >= 0;
        for (RuntimeNamespaceType type = 0; type < _RUNTIME_NAMESPACE_MAX; type++) {
                if (plan->namespace_fds[type] < 0 || type == RUNTIME_NAMESPACE_USER)
                        continue;
                Fault refused = FAULT_NULL;
                int r = join_one(plan, type, &refused);
                if (r < 0 && !(user && r == -EPERM)) {
                        fault_move(fault, &refused);
                        return r;
                }
                fault_done(&refused);
        }
        if (!user)
                return 0;
        for (RuntimeNamespaceType type = 0; type < _RUNTIME_NAMESPACE_MAX; type++) {
                int r = plan->namespace_fds[type] >= 0 ? join_one(plan, type, fault) : 0;
                if (r < 0)
                        return r;
        }
        return 0;
}

int namespaces_step_join(ContainerPlan *plan, Fault *fault) {
        return namespaces_need_launcher(plan) ? 0 : namespaces_join(plan, fault);
}

/* From here on this cgroup is "/" to the container. */
int namespaces_step_cgroup(ContainerPlan *plan, Fault *fault) {
        if (plan_has_new_namespace(plan, RUNTIME_NAMESPACE_CGROUP) && unshare(CLONE_NEWCGROUP) < 0)
                return -errno;
        return 0;
}

int namespaces_step_names(ContainerPlan *plan, Fault *fault) {
        const char *host = plan->config->hostname, *domain = plan->config->domainname;
        if (host && sethostname(host, strlen(host)) < 0)
                return fault_set_errno(fault, -errno, "config.hostname");
        if (domain && setdomainname(domain, strlen(domain)) < 0)
                return fault_set_errno(fault, -errno, "config.domainname");
        return 0;
}
