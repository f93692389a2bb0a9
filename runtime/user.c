/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/user.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/magic.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/message.h"
#include "runtime/id-mappings.h"

int user_write_mappings(const ContainerPlan *plan, pid_t pid, Fault *fault) {
        int r = id_mappings_write(&plan->config->mappings, pid, plan->proc_fd, fault);
        if (r < 0)
                return r;
        char go = 1;
        return message_send(plan->parent_socket, &go, sizeof(go), NULL, 0);
}

int user_prepare(const ContainerPlan *plan, Fault *fault) {
        if (plan->config->process.additional_gid_count > 0 && plan->groups_denied)
                return fault_set(fault, -EPERM,
                                 "config.process.user.additionalGids: an ordinary user's single group can't "
                                 "be changed; map more of them");
        return 0;
}

int user_wait_for_mappings(const ContainerPlan *plan) {
        char go;
        ssize_t n = fd_read_full(plan->init_socket, &go, sizeof(go));
        return n == sizeof(go) ? 0 : n < 0 ? (int) n : -ECANCELED;
}

int user_step_wait_for_mappings(ContainerPlan *plan, Fault *fault) {
        bool own = plan_has_new_namespace(plan, RUNTIME_NAMESPACE_USER) && !plan->unprivileged;
        return own ? user_wait_for_mappings(plan) : 0;
}

/* Inside a user namespace what init makes (directories, devices, file systems) is to be its root's. */
int user_step_become_root(ContainerPlan *plan, Fault *fault) {
        if (!plan_has_user_namespace(plan))
                return 0;
        if (!plan->groups_denied && setgroups(0, NULL) < 0)
                return fault_set_errno(fault, -errno, "leaving the groups of the caller");
        if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
                return fault_set_errno(fault, -errno,
                                       "config.linux.uidMappings: becoming user 0 of the namespace");
        return 0;
}

/* Pipes handed in keep working when they are opened again by name (/dev/stderr): they are given to the user,
 * as a terminal that was made for the container is where it is opened. Nothing that has a name on the host
 * is: neither a FIFO nor a terminal that somebody else uses, too. What the kernel refuses here the payload
 * will notice by itself. */
static void give_standard_fds(uid_t uid) {
        for (int fd = 0; fd < 3; fd++) {
                struct statfs file_system;
                if (fstatfs(fd, &file_system) >= 0 && file_system.f_type == PIPEFS_MAGIC)
                        (void) !fchown(fd, uid, (gid_t) -1);
        }
}

int user_step_change(ContainerPlan *plan, Fault *fault) {
        const RuntimeProcess *process = &plan->config->process;
        if (process->uid != 0)
                give_standard_fds(process->uid);
        (void) umask(process->umask == RUNTIME_UMASK_UNSET ? plan->caller_umask : process->umask);

        if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
                return -errno;
        if (!plan->groups_denied && setgroups(process->additional_gid_count, process->additional_gids) < 0)
                return fault_set_errno(fault, -errno, "config.process.user.additionalGids");
        if (setresgid(process->gid, process->gid, process->gid) < 0)
                return fault_set_errno(fault, -errno, "config.process.user.gid: %u", process->gid);
        if (setresuid(process->uid, process->uid, process->uid) < 0)
                return fault_set_errno(fault, -errno, "config.process.user.uid: %u", process->uid);
        if (prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0)
                return -errno;
        return 0;
}
