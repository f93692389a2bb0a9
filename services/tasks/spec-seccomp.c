/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The default system call filter, which lets through what Docker's does with the default capabilities. What
 * is not listed answers EPERM: calls that change the machine (its clock, modules, swap, quotas, keys,
 * power), that make namespaces or mounts, or that have shown more than their share of kernel bugs (io_uring,
 * bpf, userfaultfd, perf). */

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/personality.h>

#include "lib/json.h"
#include "services/tasks/spec-internal.h"

#define AF_VSOCK_NUMBER 40
/* Every namespace that clone(2) can make but the one of time, which it cannot. */
#define CLONE_NAMESPACES                                                                                    \
        (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID |       \
         CLONE_NEWNET)

static const char *const architectures[] = {
#if defined(__x86_64__)
        "SCMP_ARCH_X86_64",
        "SCMP_ARCH_X86",
        "SCMP_ARCH_X32",
#elif defined(__aarch64__)
        "SCMP_ARCH_AARCH64",
        "SCMP_ARCH_ARM",
#endif
        NULL,
};

/* Grouped as the manual pages are; names separated by blanks. */
static const char *const allowed[] = {
        /* Opening, reading, writing. */
        "open openat openat2 creat close close_range dup dup2 dup3 read write readv writev pread64 pwrite64 "
        "preadv pwritev preadv2 pwritev2 lseek _llseek sendfile sendfile64 splice tee vmsplice "
        "copy_file_range readahead fadvise64 fadvise64_64 fallocate ftruncate ftruncate64 truncate "
        "truncate64 fsync fdatasync sync syncfs sync_file_range fcntl fcntl64 flock ioctl pipe pipe2 "
        "io_setup io_submit io_getevents io_pgetevents io_pgetevents_time64 io_cancel io_destroy "
        "memfd_create memfd_secret",
        /* Names and attributes. */
        "access faccessat faccessat2 stat stat64 lstat lstat64 fstat fstat64 fstatat64 newfstatat statx "
        "statfs statfs64 fstatfs fstatfs64 ustat chdir fchdir getcwd chroot mkdir mkdirat mknod mknodat "
        "link linkat symlink symlinkat unlink unlinkat rmdir rename renameat renameat2 readlink readlinkat "
        "getdents getdents64 chmod fchmod fchmodat fchmodat2 chown chown32 fchown fchown32 lchown lchown32 "
        "fchownat umask utime utimes futimesat utimensat utimensat_time64 name_to_handle_at "
        "getxattr lgetxattr fgetxattr setxattr lsetxattr fsetxattr listxattr llistxattr flistxattr "
        "removexattr lremovexattr fremovexattr inotify_init inotify_init1 inotify_add_watch "
        "inotify_rm_watch fanotify_mark cachestat",
        /* Waiting for descriptors. */
        "select _newselect pselect6 pselect6_time64 poll ppoll ppoll_time64 epoll_create epoll_create1 "
        "epoll_ctl epoll_ctl_old epoll_wait epoll_wait_old epoll_pwait epoll_pwait2 eventfd eventfd2 "
        "signalfd signalfd4 timerfd_create timerfd_settime timerfd_settime64 timerfd_gettime "
        "timerfd_gettime64",
        /* Memory. */
        "brk mmap mmap2 munmap mremap mprotect pkey_alloc pkey_free pkey_mprotect msync madvise mincore "
        "mlock mlock2 munlock mlockall munlockall remap_file_pages membarrier process_madvise "
        "process_mrelease map_shadow_stack mseal",
        /* Processes. */
        "fork vfork execve execveat exit exit_group wait4 waitid waitpid getpid getppid gettid getpgid "
        "getpgrp setpgid getsid setsid getpriority setpriority getrlimit ugetrlimit setrlimit prlimit64 "
        "getrusage times prctl arch_prctl modify_ldt set_thread_area get_thread_area set_tid_address "
        "capget capset seccomp rseq ptrace process_vm_readv process_vm_writev pidfd_open "
        "pidfd_send_signal pidfd_getfd landlock_create_ruleset landlock_add_rule landlock_restrict_self "
        "sched_get_priority_max sched_get_priority_min sched_getaffinity sched_setaffinity sched_getattr "
        "sched_setattr sched_getparam sched_setparam sched_getscheduler sched_setscheduler "
        "sched_rr_get_interval sched_rr_get_interval_time64 sched_yield ioprio_get ioprio_set getcpu "
        "set_robust_list get_robust_list futex futex_time64 futex_waitv futex_wake futex_wait "
        "futex_requeue restart_syscall uname sysinfo getrandom",
        /* Users. */
        "getuid getuid32 geteuid geteuid32 getgid getgid32 getegid getegid32 getresuid getresuid32 "
        "getresgid getresgid32 getgroups getgroups32 setuid setuid32 setgid setgid32 setreuid setreuid32 "
        "setregid setregid32 setresuid setresuid32 setresgid setresgid32 setfsuid setfsuid32 setfsgid "
        "setfsgid32 setgroups setgroups32",
        /* Signals and time. */
        "kill tkill tgkill sigaltstack sigaction sigpending sigprocmask sigreturn sigsuspend signal "
        "rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend "
        "rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo pause alarm getitimer setitimer time "
        "gettimeofday clock_gettime clock_gettime64 clock_getres clock_getres_time64 clock_nanosleep "
        "clock_nanosleep_time64 nanosleep timer_create timer_delete timer_getoverrun timer_gettime "
        "timer_gettime64 timer_settime timer_settime64 adjtimex clock_adjtime clock_adjtime64",
        /* Sockets and System V objects. */
        "socketcall socketpair bind connect listen accept accept4 getsockname getpeername getsockopt "
        "setsockopt shutdown send sendto sendmsg sendmmsg recv recvfrom recvmsg recvmmsg "
        "recvmmsg_time64 ipc shmget shmat shmdt shmctl semget semop semtimedop semtimedop_time64 semctl "
        "msgget msgsnd msgrcv msgctl mq_open mq_unlink mq_notify mq_getsetattr mq_timedsend "
        "mq_timedsend_time64 mq_timedreceive mq_timedreceive_time64",
#if defined(__aarch64__) || defined(__arm__)
        "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls",
#endif
        NULL,
};

static int append_names(json_object *names, const char *text) {
        while (*text) {
                size_t length = strcspn(text, " ");
                if (length > 0 && spec_append(names, json_object_new_string_len(text, (int) length)) < 0)
                        return -ENOMEM;
                text += length + strspn(text + length, " ");
        }
        return 0;
}

static json_object *new_rule(const char *const *names, const char *action) {
        _cleanup_json_ json_object *rule = json_object_new_object(), *list = json_object_new_array();
        for (; *names; names++)
                if (append_names(list, *names) < 0)
                        return NULL;
        if (spec_add(rule, "names", TAKE_PTR(list)) < 0 ||
            spec_add(rule, "action", json_object_new_string(action)) < 0)
                return NULL;
        return TAKE_PTR(rule);
}

/* A call that is allowed for certain values of its first argument. */
static json_object *new_first_argument_rule(const char *name, const char *operator, uint64_t value,
                                            uint64_t value_two) {
        const char *const names[] = { name, NULL };
        _cleanup_json_ json_object *rule = new_rule(names, "SCMP_ACT_ALLOW"),
                                   *list = json_object_new_array(), *argument = json_object_new_object();
        if (spec_add(argument, "index", json_object_new_int(0)) < 0 ||
            spec_add(argument, "value", json_object_new_int64((int64_t) value)) < 0 ||
            spec_add(argument, "valueTwo", json_object_new_int64((int64_t) value_two)) < 0 ||
            spec_add(argument, "op", json_object_new_string(operator)) < 0 ||
            spec_append(list, TAKE_PTR(argument)) < 0 || spec_add(rule, "args", TAKE_PTR(list)) < 0)
                return NULL;
        return TAKE_PTR(rule);
}

/* The arguments of clone3(2) are in memory, where a filter cannot look: it is said not to be there, and
 * the C library falls back to clone(2). */
static json_object *new_clone3_rule(void) {
        static const char *const names[] = { "clone3", NULL };
        _cleanup_json_ json_object *rule = new_rule(names, "SCMP_ACT_ERRNO");
        if (spec_add(rule, "errnoRet", json_object_new_int(ENOSYS)) < 0)
                return NULL;
        return TAKE_PTR(rule);
}

static int append_rules(json_object *rules) {
        static const uint32_t personalities[] = { PER_LINUX, PER_LINUX32, UNAME26, PER_LINUX32 | UNAME26,
                                                  UINT32_MAX };
        if (spec_append(rules, new_rule(allowed, "SCMP_ACT_ALLOW")) < 0 ||
            spec_append(rules, new_clone3_rule()) < 0 ||
            spec_append(rules, new_first_argument_rule("clone", "SCMP_CMP_MASKED_EQ", CLONE_NAMESPACES, 0)) <
                    0 ||
            spec_append(rules, new_first_argument_rule("socket", "SCMP_CMP_NE", AF_VSOCK_NUMBER, 0)) < 0)
                return -ENOMEM;
        for (size_t i = 0; i < ELEMENTS_OF(personalities); i++)
                if (spec_append(rules, new_first_argument_rule("personality", "SCMP_CMP_EQ",
                                                               personalities[i], 0)) < 0)
                        return -ENOMEM;
        return 0;
}

json_object *spec_seccomp_new(void) {
        _cleanup_json_ json_object *seccomp = json_object_new_object(), *rules = json_object_new_array();
        if (append_rules(rules) < 0 ||
            spec_add(seccomp, "defaultAction", json_object_new_string("SCMP_ACT_ERRNO")) < 0 ||
            spec_add(seccomp, "defaultErrnoRet", json_object_new_int(EPERM)) < 0 ||
            (architectures[0] && spec_add(seccomp, "architectures", spec_name_array(architectures)) < 0) ||
            spec_add(seccomp, "syscalls", TAKE_PTR(rules)) < 0)
                return NULL;
        return TAKE_PTR(seccomp);
}
