/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/capabilities.h"

#include <errno.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/strv.h"

#define CAPABILITY_NUMBERS 64U

static int read_own(uint64_t *ret_permitted) {
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct data[2] = { 0 };
        if (syscall(SYS_capget, &header, data) < 0)
                return -errno;
        *ret_permitted = data[0].permitted | (uint64_t) data[1].permitted << 32;
        return 0;
}

bool capabilities_have_own(unsigned number) {
        uint64_t own = 0;
        return read_own(&own) >= 0 && (own & (UINT64_C(1) << number));
}

static void warn_of_unknown(const RuntimeProcess *process) {
        STRV_FOREACH (name, process->unknown_capabilities)
                log_warning("config.process.capabilities: '%.64s' is not known, and left out", name);
}

/* A new user namespace gives all capabilities, over what belongs to it. */
int capabilities_prepare(ContainerPlan *plan, Fault *fault) {
        const RuntimeCapabilities *wanted = &plan->config->process.capabilities;
        uint64_t own = 0;
        plan->capabilities = *wanted;
        warn_of_unknown(&plan->config->process);
        if (plan_has_user_namespace(plan))
                return 0;
        int r = read_own(&own);
        if (r < 0)
                return r;
        uint64_t missing = (wanted->permitted | wanted->inheritable) & ~own;
        for (unsigned i = 0; i < CAPABILITY_NUMBERS; i++)
                if (missing & (UINT64_C(1) << i))
                        log_warning("config.process.capabilities: %s can't be granted: the runtime does not "
                                    "have it itself",
                                    runtime_capability_to_string(i));
        plan->capabilities.permitted &= own;
        plan->capabilities.effective &= own;
        plan->capabilities.inheritable &= own;
        plan->capabilities.ambient &= own;
        return 0;
}

int capabilities_step_bound(ContainerPlan *plan, Fault *fault) {
        const RuntimeCapabilities *wanted = &plan->capabilities;
        for (unsigned i = 0; i < CAPABILITY_NUMBERS; i++) {
                if (wanted->bounding & (UINT64_C(1) << i))
                        continue;
                if (prctl(PR_CAPBSET_DROP, i, 0, 0, 0) < 0) {
                        if (errno == EINVAL) /* beyond the kernel's last one */
                                break;
                        return fault_set_errno(fault, -errno, "config.process.capabilities.bounding");
                }
        }
        return 0;
}

int capabilities_step_set(ContainerPlan *plan, Fault *fault) {
        const RuntimeCapabilities *wanted = &plan->capabilities;
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct data[2];
        for (unsigned i = 0; i < 2; i++)
                data[i] = (struct __user_cap_data_struct){
                        .effective = (uint32_t) (wanted->effective >> (32 * i)),
                        .permitted = (uint32_t) (wanted->permitted >> (32 * i)),
                        .inheritable = (uint32_t) (wanted->inheritable >> (32 * i)),
                };
        if (syscall(SYS_capset, &header, data) < 0)
                return fault_set_errno(fault, -errno, "config.process.capabilities");

        if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
                return -errno;
        for (unsigned i = 0; i < CAPABILITY_NUMBERS; i++)
                if ((wanted->ambient & (UINT64_C(1) << i)) &&
                    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, i, 0, 0) < 0)
                        return fault_set_errno(fault, -errno, "config.process.capabilities.ambient: %s",
                                               runtime_capability_to_string(i));
        return 0;
}

int capabilities_step_no_new_privileges(ContainerPlan *plan, Fault *fault) {
        if (plan->config->process.no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                return fault_set_errno(fault, -errno, "config.process.noNewPrivileges");
        return 0;
}
