/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/namespaces.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "lib/fd.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

static const int clone_flags[_RUNTIME_NAMESPACE_MAX] = {
        [RUNTIME_NAMESPACE_USER] = CLONE_NEWUSER,     [RUNTIME_NAMESPACE_MOUNT] = CLONE_NEWNS,
        [RUNTIME_NAMESPACE_PID] = CLONE_NEWPID,       [RUNTIME_NAMESPACE_NETWORK] = CLONE_NEWNET,
        [RUNTIME_NAMESPACE_IPC] = CLONE_NEWIPC,       [RUNTIME_NAMESPACE_UTS] = CLONE_NEWUTS,
        [RUNTIME_NAMESPACE_CGROUP] = CLONE_NEWCGROUP, [RUNTIME_NAMESPACE_TIME] = CLONE_NEWTIME,
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

static bool has_offsets(const ContainerPlan *plan) {
        return plan->config->boottime_offset.given || plan->config->monotonic_offset.given;
}

/* An ordinary user's launcher is in the user namespace already (launch.h); a time namespace with offsets is
 * entered after they are written (time_namespaces(7)). */
static bool is_made_by_clone(const ContainerPlan *plan, RuntimeNamespaceType type) {
        return plan_has_new_namespace(plan, type) && type != RUNTIME_NAMESPACE_CGROUP &&
               !(type == RUNTIME_NAMESPACE_USER && plan->unprivileged) &&
               !(type == RUNTIME_NAMESPACE_TIME && has_offsets(plan));
}

uint64_t namespaces_clone_flags(const ContainerPlan *plan) {
        uint64_t flags = 0;
        for (RuntimeNamespaceType type = 0; type < _RUNTIME_NAMESPACE_MAX; type++)
                if (is_made_by_clone(plan, type))
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

/* Before this process is closed to /proc, where the offsets are written. */
int namespaces_step_time(ContainerPlan *plan, Fault *fault) {
        const RuntimeTimeOffset *boot = &plan->config->boottime_offset;
        const RuntimeTimeOffset *monotonic = &plan->config->monotonic_offset;
        char text[128];
        if (!plan_has_new_namespace(plan, RUNTIME_NAMESPACE_TIME) || !has_offsets(plan))
                return 0;
        if (unshare(CLONE_NEWTIME) < 0)
                return fault_set_errno(fault, -errno, "config.linux.namespaces: time");
        (void) snprintf(text, sizeof(text), "boottime %" PRIi64 " %u\nmonotonic %" PRIi64 " %u\n",
                        boot->seconds, boot->nanoseconds, monotonic->seconds, monotonic->nanoseconds);
        int r = fd_write_file_at(plan->proc_fd, "self/timens_offsets", text);
        if (r < 0)
                return fault_set_errno(fault, r, "config.linux.timeOffsets");
        _cleanup_close_ int own = openat(plan->proc_fd, "self/ns/time_for_children", O_RDONLY | O_CLOEXEC);
        if (own < 0 || setns(own, CLONE_NEWTIME) < 0)
                return fault_set_errno(fault, -errno, "config.linux.namespaces: time");
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
