/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/plan.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/message.h"
#include "lib/strv.h"
#include "runtime/capabilities.h"
#include "runtime/cgroup-resources.h"
#include "runtime/hooks.h"
#include "runtime/id-mappings.h"
#include "runtime/intel-rdt.h"
#include "runtime/mount-source.h"
#include "runtime/mounts.h"
#include "runtime/namespaces.h"
#include "runtime/net-devices.h"
#include "runtime/rootfs.h"
#include "runtime/seccomp-filter.h"
#include "runtime/seccomp-notify.h"
#include "runtime/security-label.h"
#include "runtime/sysctl.h"
#include "runtime/terminal.h"
#include "runtime/user.h"

int plan_check_request(const ContainerRequest *request, Fault *fault) {
        if (!request->config->process.given)
                return fault_set(fault, -EBADMSG, "config.process: is missing");
        if (string_equal(request->config->foreign, "vm"))
                return fault_set(fault, -EOPNOTSUPP, "config.vm: crt-oci runs no virtual machines");
        if (request->config->foreign)
                return fault_set(fault, -EOPNOTSUPP, "config.%s: is for another platform",
                                 request->config->foreign);
        int r = cgroup_resources_check(&request->config->resources, fault);
        if (r < 0)
                return r;
        if (request->extra_fd_count > CONTAINER_EXTRA_FDS_MAX)
                return fault_set(fault, -EINVAL, "more than %i descriptors to hand on",
                                 CONTAINER_EXTRA_FDS_MAX);
        for (size_t i = 0; i < request->extra_fd_count; i++)
                if (fcntl(request->extra_fds[i], F_GETFD) < 0)
                        return fault_set_errno(fault, -errno, "descriptor %i, which is to be handed on",
                                               request->extra_fds[i]);
        return 0;
}

/* The two things of the caller's own tree that init uses from another one, opened and checked. */
int plan_open_own_tree(ContainerPlan *plan, Fault *fault) {
        struct statfs file_system;
        plan->proc_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (plan->proc_fd < 0 || fstatfs(plan->proc_fd, &file_system) < 0)
                return fault_set_errno(fault, -errno, "/proc");
        if (file_system.f_type != PROC_SUPER_MAGIC)
                return fault_set(fault, -ENODEV, "/proc is not a proc file system");

        struct stat st;
        plan->null_fd = open("/dev/null", O_RDWR | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC);
        if (plan->null_fd < 0 || fstat(plan->null_fd, &st) < 0)
                return fault_set_errno(fault, -errno, "/dev/null");
        if (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))
                return fault_set(fault, -ENODEV, "/dev/null is not the null device");
        return 0;
}

void plan_init(ContainerPlan *plan, const ContainerRequest *request) {
        *plan = (ContainerPlan){
                .request = request,
                .config = request->config,
                .rootfs_fd = -EBADF,
                .mapping_fd = -EBADF,
                .proc_fd = -EBADF,
                .null_fd = -EBADF,
                .resctrl_fd = -EBADF,
                .net_namespace_fd = -EBADF,
                .parent_socket = -EBADF,
                .init_socket = -EBADF,
                .start_fd = request->start_fd,
                .result_fd = request->result_fd,
                .courier_fds = { -EBADF, -EBADF },
                .devpts_fd = -EBADF,
                .terminal_fd = -EBADF,
        };
        for (size_t i = 0; i < _RUNTIME_NAMESPACE_MAX; i++)
                plan->namespace_fds[i] = -EBADF;
        plan->groups_denied = plan_has_new_namespace(plan, RUNTIME_NAMESPACE_USER) &&
                              id_mappings_deny_groups(&plan->config->mappings);
}

int plan_open_host_tree(ContainerPlan *plan, Fault *fault) {
        int r = rootfs_prepare(plan, fault);
        return r < 0 ? r : mount_source_open_all(plan, fault);
}

int plan_prepare(const ContainerRequest *request, ContainerPlan *plan, Fault *fault) {
        plan_init(plan, request);
        plan->unprivileged = plan_has_new_namespace(plan, RUNTIME_NAMESPACE_USER) &&
                             !capabilities_have_own(CAP_SYS_ADMIN);
        int r;
        if ((r = plan_check_request(request, fault)) < 0 || (r = plan_open_own_tree(plan, fault)) < 0 ||
            (r = namespaces_prepare(plan, fault)) < 0 || (r = capabilities_prepare(plan, fault)) < 0 ||
            (r = security_label_prepare(plan, fault)) < 0 || (r = sysctl_prepare(plan, fault)) < 0 ||
            (r = user_prepare(plan, fault)) < 0 || (r = mounts_prepare(plan, fault)) < 0 ||
            (!plan->unprivileged && (r = plan_open_host_tree(plan, fault)) < 0) ||
            (r = terminal_prepare(plan, fault)) < 0 || (r = seccomp_filter_prepare(plan, fault)) < 0 ||
            (r = hooks_prepare(plan, fault)) < 0 || (r = net_devices_prepare(plan, fault)) < 0 ||
            (r = seccomp_notify_prepare(plan, fault)) < 0 || (r = intel_rdt_prepare(plan, fault)) < 0 ||
            (r = message_pair(&plan->parent_socket, &plan->init_socket)) < 0)
                return r;
        /* The parent has nothing else to do while init works. */
        return fd_set_nonblocking(plan->parent_socket, false);
}

void plan_done(ContainerPlan *plan) {
        for (size_t i = 0; i < _RUNTIME_NAMESPACE_MAX; i++)
                fd_close(plan->namespace_fds[i]);
        if (plan->own_rootfs_fd)
                fd_close(plan->rootfs_fd);
        mounts_done(plan);
        net_devices_done(plan);
        fd_close(plan->resctrl_fd);
        fd_close(plan->mapping_fd);
        fd_close(plan->proc_fd);
        fd_close(plan->null_fd);
        fd_close(plan->parent_socket);
        fd_close(plan->init_socket);
        free(plan->own_seccomp_filter);
        free(plan->root_place);
        free(plan->program);
        free(plan->home_assignment);
        free(plan->environment);
}
