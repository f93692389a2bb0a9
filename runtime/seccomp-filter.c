/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/seccomp-filter.h"

#include <ctype.h>
#include <errno.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/strv.h"
#include "runtime/seccomp-cache.h"
#include "runtime/seccomp-notify.h"
#include "runtime/seccomp-shrink.h"

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

#define ARGUMENTS_MAX 6

DEFINE_CLEANUP_VOID(scmp_filter_ctx, seccomp_release);

static const enum scmp_compare comparisons[] = {
        [RUNTIME_SECCOMP_NOT_EQUAL] = SCMP_CMP_NE,           [RUNTIME_SECCOMP_LESS] = SCMP_CMP_LT,
        [RUNTIME_SECCOMP_LESS_OR_EQUAL] = SCMP_CMP_LE,       [RUNTIME_SECCOMP_EQUAL] = SCMP_CMP_EQ,
        [RUNTIME_SECCOMP_GREATER_OR_EQUAL] = SCMP_CMP_GE,    [RUNTIME_SECCOMP_GREATER] = SCMP_CMP_GT,
        [RUNTIME_SECCOMP_MASKED_EQUAL] = SCMP_CMP_MASKED_EQ,
};

static uint32_t action_of(RuntimeSeccompAction action, uint32_t number) {
        switch (action) {
        case RUNTIME_SECCOMP_KILL_PROCESS:
                return SCMP_ACT_KILL_PROCESS;
        case RUNTIME_SECCOMP_TRAP:
                return SCMP_ACT_TRAP;
        case RUNTIME_SECCOMP_ERRNO:
                return SCMP_ACT_ERRNO(number);
        case RUNTIME_SECCOMP_TRACE:
                return SCMP_ACT_TRACE(number);
        case RUNTIME_SECCOMP_ALLOW:
                return SCMP_ACT_ALLOW;
        case RUNTIME_SECCOMP_LOG:
                return SCMP_ACT_LOG;
        case RUNTIME_SECCOMP_NOTIFY:
                return SCMP_ACT_NOTIFY;
        case RUNTIME_SECCOMP_KILL_THREAD:
        default:
                return SCMP_ACT_KILL_THREAD;
        }
}

static int add_architectures(scmp_filter_ctx filter, const RuntimeSeccomp *seccomp, Fault *fault) {
        STRV_FOREACH (name, seccomp->architectures) {
                char lower[32];
                const char *rest = string_after(name, "SCMP_ARCH_");
                (void) snprintf(lower, sizeof(lower), "%s", rest ? rest : "");
                for (char *p = lower; *p; p++)
                        *p = (char) tolower((unsigned char) *p);
                uint32_t token = seccomp_arch_resolve_name(lower);
                if (token == 0)
                        return fault_set(
                                fault, -EOPNOTSUPP,
                                "config.linux.seccomp.architectures: '%s' is not known to libseccomp", name);
                int r = seccomp_arch_add(filter, token);
                if (r < 0 && r != -EEXIST)
                        return fault_set_errno(fault, r, "config.linux.seccomp.architectures: %s", name);
        }
        return 0;
}

static struct scmp_arg_cmp argument_of(const RuntimeSeccompArgument *argument) {
        return (struct scmp_arg_cmp){
                .arg = argument->index,
                .op = comparisons[argument->comparison],
                .datum_a = argument->value,
                .datum_b = argument->value_two,
        };
}

static bool has_index_twice(const RuntimeSeccompRule *rule) {
        unsigned seen = 0;
        for (size_t i = 0; i < rule->argument_count; i++) {
                unsigned bit = 1U << rule->arguments[i].index;
                if (seen & bit)
                        return true;
                seen |= bit;
        }
        return false;
}

/* All conditions of a rule have to hold; but one argument compared twice means, in the profiles that are
 * around, that either comparison will do. libseccomp takes an argument once for each rule. */
static int add_rule(scmp_filter_ctx filter, const RuntimeSeccompRule *rule, uint32_t action, int number) {
        struct scmp_arg_cmp arguments[ARGUMENTS_MAX];
        int r = 0;
        if (has_index_twice(rule)) {
                for (size_t i = 0; i < rule->argument_count && r >= 0; i++) {
                        arguments[0] = argument_of(&rule->arguments[i]);
                        r = seccomp_rule_add_array(filter, action, number, 1, arguments);
                        if (r == -EEXIST)
                                r = 0;
                }
                return r;
        }
        for (size_t i = 0; i < rule->argument_count; i++)
                arguments[i] = argument_of(&rule->arguments[i]);
        r = seccomp_rule_add_array(filter, action, number, (unsigned) rule->argument_count, arguments);
        return r == -EEXIST ? 0 : r;
}

static bool lets_pass(RuntimeSeccompAction action) {
        return action == RUNTIME_SECCOMP_ALLOW || action == RUNTIME_SECCOMP_LOG;
}

/* A profile names more system calls than one kernel or libseccomp knows. One that is to be let pass and is
 * not known falls to the default, which at most says no or writes it down; one that is to be denied would be
 * let through where the default does that. */
static int add_name(scmp_filter_ctx filter, const RuntimeSeccomp *seccomp, size_t index, const char *name,
                    Fault *fault) {
        const RuntimeSeccompRule *rule = &seccomp->rules[index];
        uint32_t action = action_of(rule->action, rule->errno_return);
        if (action == action_of(seccomp->default_action, seccomp->default_errno_return))
                return 0;
        int number = seccomp_syscall_resolve_name(name);
        if (number == __NR_SCMP_ERROR) {
                if (lets_pass(seccomp->default_action) && !lets_pass(rule->action))
                        return fault_set(fault, -EOPNOTSUPP,
                                         "config.linux.seccomp.syscalls[%zu].names: '%s' is not known to "
                                         "libseccomp, and the default action would let it pass",
                                         index, name);
                return 0;
        }
        int r = add_rule(filter, rule, action, number);
        return r < 0 ? fault_set_errno(fault, r, "config.linux.seccomp.syscalls[%zu]: %s", index, name) : 0;
}

static int export_filter(scmp_filter_ctx filter, struct sock_filter **ret_filter, size_t *ret_count) {
        _cleanup_close_ int fd = memfd_create("crt-seccomp", MFD_CLOEXEC);
        if (fd < 0)
                return -errno;
        int r = seccomp_export_bpf(filter, fd);
        if (r < 0)
                return r;
        struct stat st;
        if (fstat(fd, &st) < 0 || lseek(fd, 0, SEEK_SET) < 0)
                return -errno;
        _cleanup_free_ struct sock_filter *instructions = malloc((size_t) st.st_size);
        if (!instructions)
                return -ENOMEM;
        if (fd_read_full(fd, instructions, (size_t) st.st_size) != st.st_size)
                return -EIO;
        *ret_count = (size_t) st.st_size / sizeof(struct sock_filter);
        *ret_filter = TAKE_PTR(instructions);
        return 0;
}

int seccomp_filter_compile(const RuntimeSeccomp *seccomp, struct sock_filter **ret_filter, size_t *ret_count,
                           Fault *fault) {
        _cleanup_(seccomp_releasep) scmp_filter_ctx filter =
                seccomp_init(action_of(seccomp->default_action, seccomp->default_errno_return));
        if (!filter)
                return fault_set(fault, -EINVAL,
                                 "config.linux.seccomp.defaultAction: refused by libseccomp");
        int r;
        if ((r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 0)) < 0 ||
            (r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2)) < 0)
                return fault_set_errno(fault, r, "libseccomp");
        r = add_architectures(filter, seccomp, fault);
        for (size_t i = 0; i < seccomp->rule_count && r >= 0; i++)
                STRV_FOREACH (name, seccomp->rules[i].names) {
                        r = add_name(filter, seccomp, i, name, fault);
                        if (r < 0)
                                break;
                }
        if (r < 0)
                return r;
        _cleanup_free_ struct sock_filter *instructions = NULL;
        r = export_filter(filter, &instructions, ret_count);
        if (r >= 0)
                r = seccomp_shrink(instructions, ret_count);
        if (r < 0)
                return fault_set_errno(fault, r, "config.linux.seccomp: compiling it");
        *ret_filter = TAKE_PTR(instructions);
        return 0;
}

int seccomp_filter_prepare(ContainerPlan *plan, Fault *fault) {
        const RuntimeSeccomp *seccomp = plan->config->seccomp;
        if (plan->request->seccomp_program) {
                plan->seccomp = *plan->request->seccomp_program;
                return 0;
        }
        if (!seccomp)
                return 0;
        if (seccomp->rules_left)
                return fault_set(fault, -EINVAL, "config.linux.seccomp.syscalls: were not read");
        size_t count = 0;
        int r = seccomp_cache_get(plan->request->seccomp_cache_fd, seccomp, &plan->own_seccomp_filter,
                                  &count);
        if (r <= 0) {
                r = seccomp_filter_compile(seccomp, &plan->own_seccomp_filter, &count, fault);
                if (r < 0)
                        return r;
                seccomp_cache_put(plan->request->seccomp_cache_fd, seccomp, plan->own_seccomp_filter, count);
        }
        if (count > BPF_MAXINSNS)
                return fault_set(fault, -E2BIG,
                                 "config.linux.seccomp: compiles to %zu instructions, the kernel takes %i",
                                 count, BPF_MAXINSNS);
        plan->seccomp = (struct sock_fprog){
                .len = (unsigned short) count,
                .filter = plan->own_seccomp_filter,
        };
        return 0;
}

static unsigned load_flags(const ContainerPlan *plan) {
        const RuntimeSeccomp *seccomp = plan->config->seccomp;
        if (!seccomp)
                return 0;
        bool notifies = seccomp->notifies && !plan->request->seccomp_program;
        return (seccomp->flag_log ? SECCOMP_FILTER_FLAG_LOG : 0) |
               (seccomp->flag_spec_allow ? SECCOMP_FILTER_FLAG_SPEC_ALLOW : 0) |
               (notifies ? SECCOMP_FILTER_FLAG_NEW_LISTENER : 0) |
               (notifies && seccomp->flag_wait_killable ? SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV : 0);
}

/* The listener is close-on-exec; it is not closed here, since the filter is in force already. */
static int load(const ContainerPlan *plan, Fault *fault) {
        if (plan->seccomp.len == 0)
                return 0;
        unsigned flags = load_flags(plan);
        int listener = (int) syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &plan->seccomp);
        if (listener < 0 && errno == EINVAL && (flags & SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV))
                return fault_set(fault, -EOPNOTSUPP,
                                 "config.linux.seccomp.flags: this kernel does not know "
                                 "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (Linux 5.19 does)");
        if (listener < 0)
                return fault_set_errno(fault, -errno, "config.linux.seccomp");
        if (!(flags & SECCOMP_FILTER_FLAG_NEW_LISTENER))
                return 0;
        return seccomp_notify_send(plan, listener);
}

int seccomp_filter_step_early(ContainerPlan *plan, Fault *fault) {
        int r = seccomp_notify_start_courier(plan, fault);
        return r < 0 || plan->config->process.no_new_privileges ? r : load(plan, fault);
}

int seccomp_filter_step_late(ContainerPlan *plan, Fault *fault) {
        return plan->config->process.no_new_privileges ? load(plan, fault) : 0;
}
