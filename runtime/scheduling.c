/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/scheduling.h"

#include <errno.h>
#include <linux/ioprio.h>
#include <sched.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PROCESSORS_MAX 8192
#define NODES_MAX 1024
#define UTILIZATION_MAX 1024

/* sched_setattr(2); its header clashes with <sched.h> in this glibc. */
struct scheduling_attributes {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
        uint32_t utilization_min, utilization_max;
};

static int set_scheduler(const RuntimeScheduler *scheduler, pid_t pid, Fault *fault) {
        struct scheduling_attributes attributes = {
                .size = sizeof(attributes),
                .policy = scheduler->policy,
                .flags = scheduler->flags,
                .nice = scheduler->nice,
                .priority = scheduler->priority,
                .runtime = scheduler->runtime,
                .deadline = scheduler->deadline,
                .period = scheduler->period,
                .utilization_max = UTILIZATION_MAX,
        };
        if (syscall(SYS_sched_setattr, pid, &attributes, 0) < 0)
                return fault_set_errno(fault, -errno, "config.process.scheduler");
        return 0;
}

int scheduling_set(const RuntimeProcess *process, pid_t pid, Fault *fault) {
        int r = process->scheduler.given ? set_scheduler(&process->scheduler, pid, fault) : 0;
        if (r >= 0 && process->io_priority > 0 &&
            syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, pid, process->io_priority) < 0)
                r = fault_set_errno(fault, -errno, "config.process.ioPriority");
        return r;
}

int scheduling_set_affinity(pid_t pid, const char *list, const char *field, Fault *fault) {
        unsigned long bits[PROCESSORS_MAX / (8 * sizeof(long))];
        int r = runtime_list_to_bits(list, bits, PROCESSORS_MAX);
        if (r >= 0 && syscall(SYS_sched_setaffinity, pid, sizeof(bits), bits) < 0)
                r = -errno;
        return r < 0 ? fault_set_errno(fault, r, "%s: %s", field, list) : 0;
}

int scheduling_step_memory_policy(ContainerPlan *plan, Fault *fault) {
        const RuntimeMemoryPolicy *policy = &plan->config->memory_policy;
        unsigned long nodes[NODES_MAX / (8 * sizeof(long))] = { 0 };
        if (!policy->given)
                return 0;
        int r = policy->nodes ? runtime_list_to_bits(policy->nodes, nodes, NODES_MAX) : 0;
        /* The kernel takes one bit less than it is told. */
        if (r >= 0 && syscall(SYS_set_mempolicy, policy->mode, policy->nodes ? nodes : NULL,
                              policy->nodes ? NODES_MAX + 1 : 0) < 0)
                r = -errno;
        if (r == -ENOSYS)
                return fault_set(fault, -EOPNOTSUPP,
                                 "config.linux.memoryPolicy: this kernel has no NUMA policies");
        return r < 0 ? fault_set_errno(fault, r, "config.linux.memoryPolicy") : 0;
}

int scheduling_step_personality(ContainerPlan *plan, Fault *fault) {
        if (plan->config->personality_given && personality(plan->config->personality) < 0)
                return fault_set_errno(fault, -errno, "config.linux.personality");
        return 0;
}
