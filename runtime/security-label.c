/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/security-label.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "lib/fd.h"

static bool has_apparmor(void) {
        _cleanup_free_ char *enabled = NULL;
        return fd_read_line_at(AT_FDCWD, "/sys/module/apparmor/parameters/enabled", &enabled) >= 0 &&
               enabled[0] == 'Y';
}

static bool has_selinux(void) {
        struct statfs file_system;
        return statfs("/sys/fs/selinux", &file_system) >= 0 && file_system.f_type == SELINUX_MAGIC;
}

int security_label_prepare(const ContainerPlan *plan, Fault *fault) {
        const RuntimeProcess *process = &plan->config->process;
        if (process->apparmor_profile && !has_apparmor())
                return fault_set(fault, -EOPNOTSUPP,
                                 "config.process.apparmorProfile: AppArmor is not enabled in this kernel");
        if (process->selinux_label && !has_selinux())
                return fault_set(fault, -EOPNOTSUPP,
                                 "config.process.selinuxLabel: SELinux is not enabled in this kernel");
        if (plan->config->mount_label && !has_selinux())
                return fault_set(fault, -EOPNOTSUPP,
                                 "config.linux.mountLabel: SELinux is not enabled in this kernel");
        return 0;
}

static int write_attribute(const ContainerPlan *plan, const char *file, const char *text) {
        char path[64];
        (void) snprintf(path, sizeof(path), "thread-self/attr/%s", file);
        return fd_write_file_at(plan->proc_fd, path, text);
}

/* AppArmor's own file since Linux 5.8; the other one belongs to the first module of the kernel. */
static int set_apparmor(const ContainerPlan *plan, const char *profile) {
        _cleanup_free_ char *text = NULL;
        if (asprintf(&text, "exec %s", profile) < 0)
                return -ENOMEM;
        int r = write_attribute(plan, "apparmor/exec", text);
        return r == -ENOENT ? write_attribute(plan, "exec", text) : r;
}

int security_label_step_set(ContainerPlan *plan, Fault *fault) {
        const RuntimeProcess *process = &plan->config->process;
        if (process->apparmor_profile) {
                int r = set_apparmor(plan, process->apparmor_profile);
                if (r < 0)
                        return fault_set_errno(fault, r, "config.process.apparmorProfile: %s",
                                               process->apparmor_profile);
        }
        if (process->selinux_label) {
                int r = write_attribute(plan, "exec", process->selinux_label);
                if (r < 0)
                        return fault_set_errno(fault, r, "config.process.selinuxLabel: %s",
                                               process->selinux_label);
        }
        return 0;
}
