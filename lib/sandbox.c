/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* fchmodat() of newer C libraries; younger than libseccomp 2.5.4, and of one number everywhere. */
#ifndef __NR_fchmodat2
#define __NR_fchmodat2 452
#endif

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ADDRESS_SANITIZER 1
#endif
#endif
#ifndef WITH_ADDRESS_SANITIZER
#define WITH_ADDRESS_SANITIZER 0
#endif

DEFINE_CLEANUP_VOID(scmp_filter_ctx, seccomp_release);

/* Bytes in and out of what is open, memory, threads, time. */
static const int stream_calls[] = {
        SCMP_SYS(brk),
        SCMP_SYS(clock_getres),
        SCMP_SYS(clock_gettime),
        SCMP_SYS(clock_nanosleep),
        SCMP_SYS(close),
        SCMP_SYS(close_range),
        SCMP_SYS(copy_file_range),
        SCMP_SYS(dup),
        SCMP_SYS(dup3),
        SCMP_SYS(epoll_create1),
        SCMP_SYS(epoll_ctl),
        SCMP_SYS(epoll_pwait),
        SCMP_SYS(epoll_wait),
        SCMP_SYS(eventfd2),
        SCMP_SYS(exit),
        SCMP_SYS(exit_group),
        SCMP_SYS(fadvise64),
        SCMP_SYS(flock), /* of files that it has */
        SCMP_SYS(fdatasync),
        SCMP_SYS(fstat),
        SCMP_SYS(fstatfs),
        SCMP_SYS(fsync),
        SCMP_SYS(ftruncate),
        SCMP_SYS(futex),
        SCMP_SYS(getegid),
        SCMP_SYS(geteuid),
        SCMP_SYS(getgid),
        SCMP_SYS(getpid),
        SCMP_SYS(getppid),
        SCMP_SYS(getrandom),
        SCMP_SYS(getrusage),
        SCMP_SYS(gettid),
        SCMP_SYS(gettimeofday),
        SCMP_SYS(getuid),
        SCMP_SYS(lseek),
        SCMP_SYS(madvise),
        SCMP_SYS(membarrier),
        SCMP_SYS(mremap),
        SCMP_SYS(munmap),
        SCMP_SYS(nanosleep),
        SCMP_SYS(pipe2),
        SCMP_SYS(poll),
        SCMP_SYS(ppoll),
        SCMP_SYS(pread64),
        SCMP_SYS(preadv),
        SCMP_SYS(pwrite64),
        SCMP_SYS(pwritev),
        SCMP_SYS(read),
        SCMP_SYS(readahead),
        SCMP_SYS(readv),
        SCMP_SYS(restart_syscall),
        SCMP_SYS(rseq),
        SCMP_SYS(rt_sigaction),
        SCMP_SYS(rt_sigprocmask),
        SCMP_SYS(rt_sigreturn),
        SCMP_SYS(sched_getaffinity),
        SCMP_SYS(sched_yield),
        SCMP_SYS(sendmsg),
        SCMP_SYS(sendto),
        SCMP_SYS(set_robust_list),
        SCMP_SYS(shutdown),
        SCMP_SYS(sigaltstack),
        SCMP_SYS(splice),
        SCMP_SYS(sync_file_range),
        SCMP_SYS(sysinfo),
        SCMP_SYS(tee),
        SCMP_SYS(vmsplice),
        SCMP_SYS(waitid), /* for children that it has already */
        SCMP_SYS(write),
        SCMP_SYS(writev),
};

/* Orders of the daemon, and descriptors with them: not for whoever could open what lies in a directory that
 * is passed in. */
static const int order_calls[] = {
        SCMP_SYS(recvmsg),
};

/* A tree below open directories. Which directories these can be is a matter of the mount namespace and the
 * root that the worker lives in: a filter does not see paths. */
static const int tree_calls[] = {
        SCMP_SYS(faccessat), SCMP_SYS(faccessat2), SCMP_SYS(fchdir),     SCMP_SYS(fchmod),
        SCMP_SYS(fchmodat),  __NR_fchmodat2,       SCMP_SYS(fchown),     SCMP_SYS(fchownat),
        SCMP_SYS(fgetxattr), SCMP_SYS(flistxattr), SCMP_SYS(flock),      SCMP_SYS(fremovexattr),
        SCMP_SYS(fsetxattr), SCMP_SYS(getdents64), SCMP_SYS(getxattr),   SCMP_SYS(lgetxattr),
        SCMP_SYS(linkat),    SCMP_SYS(listxattr),  SCMP_SYS(llistxattr), SCMP_SYS(lremovexattr),
        SCMP_SYS(lsetxattr), SCMP_SYS(mkdirat),    SCMP_SYS(mknodat),    SCMP_SYS(newfstatat),
        SCMP_SYS(openat),    SCMP_SYS(openat2),    SCMP_SYS(readlinkat), SCMP_SYS(removexattr),
        SCMP_SYS(renameat),  SCMP_SYS(renameat2),  SCMP_SYS(setxattr),   SCMP_SYS(statx),
        SCMP_SYS(symlinkat), SCMP_SYS(syncfs),     SCMP_SYS(umask),      SCMP_SYS(unlinkat),
        SCMP_SYS(utimensat),
};

/* Neither locks nor signals by descriptor. */
static const int fcntl_commands[] = {
        F_GETFL, F_SETFL, F_GETFD, F_SETFD, F_DUPFD_CLOEXEC, F_GETPIPE_SZ, F_SETPIPE_SZ, F_GET_SEALS,
};

#define NEW_NAMESPACES                                                                                      \
        (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID |       \
         CLONE_NEWNET)

static int filter_allow_many(scmp_filter_ctx filter, const int *calls, size_t count) {
        for (size_t i = 0; i < count; i++) {
                /* Negative: the architecture does not have it. */
                int r = calls[i] < 0 ? 0 : seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* Calls that are allowed with certain arguments only. */
static int filter_allow_some(scmp_filter_ctx filter) {
        const struct {
                int call;
                unsigned argument_count;
                struct scmp_arg_cmp arguments[2];
        } rules[] = {
                /* No page is ever executable that was not when the filter was made. */
                { SCMP_SYS(mmap), 1, { SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0) } },
                { SCMP_SYS(mprotect), 1, { SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0) } },
                /* Threads, but neither processes nor namespaces. */
                { SCMP_SYS(clone),
                  1,
                  { SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD | NEW_NAMESPACES, CLONE_THREAD) } },
                /* abort() and raise(). */
                { SCMP_SYS(tgkill), 1, { SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t) getpid()) } },
                { SCMP_SYS(prctl), 1, { SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME) } },
                { SCMP_SYS(prlimit64), 2, { SCMP_A0(SCMP_CMP_EQ, 0), SCMP_A2(SCMP_CMP_EQ, 0) } },
                /* fstat() of glibc 2.33 and later. */
                { SCMP_SYS(newfstatat), 1, { SCMP_A3(SCMP_CMP_EQ, AT_EMPTY_PATH) } },
        };
        for (size_t i = 0; i < ELEMENTS_OF(rules); i++) {
                int r = rules[i].call < 0
                                ? 0
                                : seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, rules[i].call,
                                                         rules[i].argument_count, rules[i].arguments);
                if (r < 0)
                        return r;
        }
        for (size_t i = 0; i < ELEMENTS_OF(fcntl_commands); i++) {
                int r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1,
                                         SCMP_A1(SCMP_CMP_EQ, (scmp_datum_t) fcntl_commands[i]));
                if (r < 0)
                        return r;
        }
        return 0;
}

#define IOCTL(request) SCMP_A1(SCMP_CMP_MASKED_EQ, UINT32_MAX, (request)) /* the kernel looks at 32 bits */

/* stdio asks whether it writes to a terminal; the answer is no. Without a list all others are told the same,
 * with one they are not expected. */
static int filter_ioctls(scmp_filter_ctx filter, const Sandbox *sandbox) {
        if (sandbox->ioctl_count == 0)
                return seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOTTY), SCMP_SYS(ioctl), 0);
        int r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOTTY), SCMP_SYS(ioctl), 1, IOCTL(TCGETS));
        for (size_t i = 0; r >= 0 && i < sandbox->ioctl_count; i++)
                r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1, IOCTL(sandbox->ioctls[i]));
        return r;
}

static int filter_load(const Sandbox *sandbox) {
        _cleanup_(seccomp_releasep) scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
        if (!filter)
                return -ENOMEM;

        /* A binary tree instead of a list: the kernel looks at each call's way once when it is loaded. */
        int r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
        if (r >= 0)
                r = filter_allow_many(filter, stream_calls, ELEMENTS_OF(stream_calls));
        if (r >= 0 && sandbox->profile == SANDBOX_STREAM)
                r = filter_allow_many(filter, order_calls, ELEMENTS_OF(order_calls));
        if (r >= 0 && sandbox->profile == SANDBOX_TREE)
                r = filter_allow_many(filter, tree_calls, ELEMENTS_OF(tree_calls));
        if (r >= 0)
                r = filter_allow_some(filter);
        /* Its flags are in memory, which a filter does not see: glibc takes clone() instead. */
        if (r >= 0)
                r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
        if (r >= 0)
                r = filter_ioctls(filter, sandbox);
        return r < 0 ? r : seccomp_load(filter);
}

/* Dropping from the bounding set takes CAP_SETPCAP; a process without it can't gain any of these either, as
 * execve() is not among the calls that it is left with. */
static int capabilities_keep(uint64_t keep) {
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { 0 };

        for (unsigned c = 0; c < 64 && prctl(PR_CAPBSET_READ, c, 0, 0, 0) >= 0; c++)
                if (!(keep & (UINT64_C(1) << c)) && prctl(PR_CAPBSET_DROP, c, 0, 0, 0) < 0 && errno != EPERM)
                        return -errno;
        if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
                return -errno;
        if (syscall(SYS_capget, &header, data) < 0)
                return -errno;
        bool has_more = false;
        for (size_t i = 0; i < ELEMENTS_OF(data); i++) {
                uint32_t kept = data[i].permitted & (uint32_t) (keep >> (32 * i));
                has_more |=
                        data[i].permitted != kept || data[i].effective != kept || data[i].inheritable != 0;
                data[i].permitted = data[i].effective = kept;
                data[i].inheritable = 0;
        }
        /* Who never had any need not be allowed to drop them. */
        if (!has_more)
                return 0;
        return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

/* Never above the hard limit that is set already. */
static int limit_set(int resource, uint64_t value) {
        struct rlimit limit;
        if (getrlimit((__rlimit_resource_t) resource, &limit) < 0)
                return -errno;
        limit.rlim_max = MIN_OF(limit.rlim_max, value);
        limit.rlim_cur = limit.rlim_max;
        return setrlimit((__rlimit_resource_t) resource, &limit) < 0 ? -errno : 0;
}

static int limits_apply(const Sandbox *sandbox) {
        int r = limit_set(RLIMIT_CORE, 0);
        /* AddressSanitizer maps terabytes of shadow. */
        if (r >= 0 && sandbox->memory_limit > 0 && !WITH_ADDRESS_SANITIZER)
                r = limit_set(RLIMIT_AS, sandbox->memory_limit);
        if (r >= 0 && sandbox->descriptor_limit > 0)
                r = limit_set(RLIMIT_NOFILE, sandbox->descriptor_limit);
        if (r >= 0 && sandbox->file_limit > 0)
                r = limit_set(RLIMIT_FSIZE, sandbox->file_limit);
        if (r >= 0 && sandbox->processor_limit > 0)
                r = limit_set(RLIMIT_CPU, sandbox->processor_limit);
        return r;
}

int sandbox_enter(const Sandbox *sandbox, Fault *fault) {
        assert(sandbox->profile >= 0 && sandbox->profile < _SANDBOX_PROFILE_MAX);

        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                return fault_set_errno(fault, -errno, "can't give up gaining privileges");
        if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
                return fault_set_errno(fault, -errno, "can't become undumpable");
        int r = limits_apply(sandbox);
        if (r < 0)
                return fault_set_errno(fault, r, "can't set resource limits");
        r = capabilities_keep(sandbox->keep_capabilities);
        if (r < 0)
                return fault_set_errno(fault, r, "can't drop capabilities");
        r = filter_load(sandbox);
        if (r < 0)
                return fault_set_errno(fault, r, "can't load the seccomp filter");
        return 0;
}
