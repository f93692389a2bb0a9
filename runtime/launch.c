/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/process.h"
#include "runtime/init-report.h"
#include "runtime/namespaces.h"
#include "runtime/staging.h"
#include "runtime/user.h"

pid_t launch_clone(int cgroup, uint64_t flags, int *ret_pidfd) {
        struct clone_args args = {
                .flags = flags | CLONE_PIDFD | (cgroup >= 0 ? CLONE_INTO_CGROUP : 0),
                .pidfd = (uint64_t) (uintptr_t) ret_pidfd,
                .exit_signal = flags & CLONE_PARENT ? 0 : SIGCHLD,
                .cgroup = cgroup >= 0 ? (uint64_t) cgroup : 0,
        };
        long pid = syscall(SYS_clone3, &args, sizeof(args));
        return pid < 0 ? (pid_t) -errno : (pid_t) pid;
}

static pid_t clone_init(ContainerPlan *plan, uint64_t further_flags, int *ret_pidfd) {
        return launch_clone(plan->request->cgroup_fd, namespaces_clone_flags(plan) | further_flags,
                            ret_pidfd);
}

static int clone_fault(int error, Fault *fault) {
        if (error == -EBUSY || error == -EOPNOTSUPP)
                return fault_set_errno(fault, error,
                                       "the cgroup takes no process (it has controllers enabled for cgroups "
                                       "below it, or is threaded)");
        if (error == -ENODEV)
                return fault_set_errno(fault, error, "the cgroup was removed");
        if (error == -ENOSPC || error == -EUSERS)
                return fault_set_errno(fault, error, "too many namespaces (sysctl user.max_*_namespaces)");
        return fault_set_errno(fault, error, "cannot clone the container's init");
}

/* A descriptor of the bundle leads into the mount namespace in which it was opened, whose mounts can't be
 * cloned into another one. The working directory goes along. */
static int unshare_mounts(const ContainerPlan *plan) {
        int bundle = plan->request->bundle_fd;
        if (bundle >= 0 && fchdir(bundle) < 0)
                return -errno;
        if (unshare(CLONE_NEWNS) < 0)
                return -errno;
        _cleanup_close_ int fd = bundle < 0 ? -EBADF : open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
        return bundle >= 0 && (fd < 0 || dup3(fd, bundle, O_CLOEXEC) < 0) ? -errno : 0;
}

/* An ordinary user's launcher goes ahead into the user namespace, gets its mappings from the parent, and
 * does there what the parent has no right to. The mounts that it clones were copied into that namespace by
 * the kernel, and their flags are locked. */
static int enter_user_namespace(ContainerPlan *plan, int answer, Fault *fault) {
        char text[32];
        InitReport report = init_report_make(INIT_REPORT_MAPPINGS, "", 0, "");
        const RuntimeProcess *process = &plan->config->process;
        report.pid = getpid();
        /* Init will be closed to /proc; this process has it still open. */
        (void) snprintf(text, sizeof(text), "%" PRIi64, process->oom_score_adj);
        int r = process->oom_score_adj == RUNTIME_UNSET
                        ? 0
                        : fd_write_file_at(plan->proc_fd, "self/oom_score_adj", text);
        if (r < 0)
                return fault_set_errno(fault, r, "config.process.oomScoreAdj: %s", text);
        if (unshare(CLONE_NEWUSER) < 0)
                return fault_set_errno(fault, -errno, "config.linux.namespaces: user");
        r = fd_write_all(answer, &report, sizeof(report));
        if (r >= 0)
                r = user_wait_for_mappings(plan);
        if (r < 0)
                return r;
        r = unshare_mounts(plan);
        if (r < 0)
                return fault_set_errno(fault, r, "config.linux.namespaces: mount");
        return plan_open_host_tree(plan, fault);
}

static int prepare_launch(ContainerPlan *plan, int answer, Fault *fault) {
        /* Whoever lives in a namespace that is joined must not look into this process. */
        if (!plan->unprivileged && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
                return -errno;
        if (plan->unprivileged)
                return enter_user_namespace(plan, answer, fault);
        return plan_has_user_namespace(plan) ? staging_lay_out(plan, fault) : 0;
}

/* The launcher lays mounts out, joins, clones init as a child of its own parent (CLONE_PARENT) and says
 * init's pid. That pid stays valid until the parent reaps it. */
static _noreturn_ void launcher_run(ContainerPlan *plan, LaunchMain main, int answer) {
        Fault fault = FAULT_NULL;
        int pidfd = -EBADF;
        pid_t pid = (pid_t) prepare_launch(plan, answer, &fault);
        if (pid >= 0)
                pid = (pid_t) namespaces_join(plan, &fault);
        if (pid >= 0) {
                pid = clone_init(plan, CLONE_PARENT, &pidfd);
                if (pid == 0) {
                        fd_close(answer);
                        main(plan);
                }
                if (pid < 0)
                        (void) clone_fault(pid, &fault);
        }
        InitReport report = init_report_make(pid < 0 ? INIT_REPORT_FAILED : INIT_REPORT_READY, "launching",
                                             pid < 0 ? pid : 0, pid < 0 ? fault_text(&fault, pid) : "");
        report.pid = pid;
        (void) fd_write_all(answer, &report, sizeof(report));
        _exit(pid < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
}

/* Its last word; before that, perhaps, that it waits for its mappings. */
static int hear_launcher(const ContainerPlan *plan, int answer, InitReport *report, Fault *fault) {
        for (;;) {
                ssize_t n = fd_read_full(answer, report, sizeof(*report));
                if (n < 0)
                        return fault_set_errno(fault, (int) n, "what the process that launches init said");
                if (n != sizeof(*report))
                        return fault_set(fault, -EIO, "the process that launches init ended without a word");
                if (report->kind != INIT_REPORT_MAPPINGS)
                        return 0;
                int r = user_write_mappings(plan, report->pid, fault);
                if (r < 0)
                        return r;
        }
}

static int launch_through_launcher(ContainerPlan *plan, LaunchMain main, pid_t *ret_pid, int *ret_pidfd,
                                   Fault *fault) {
        int answer[2];
        if (pipe2(answer, O_CLOEXEC) < 0)
                return -errno;
        pid_t launcher = fork();
        if (launcher == 0) {
                fd_close(answer[0]);
                launcher_run(plan, main, answer[1]);
        }
        int r = launcher < 0 ? -errno : 0;
        fd_close(answer[1]);
        if (r < 0) {
                fd_close(answer[0]);
                return fault_set_errno(fault, r, "cannot make the process that launches init");
        }

        InitReport report;
        r = hear_launcher(plan, answer[0], &report, fault);
        fd_close(answer[0]);
        if (r < 0) /* it may wait for something that does not come */
                (void) kill(launcher, SIGKILL);
        while (waitpid(launcher, NULL, 0) < 0 && errno == EINTR)
                ;
        if (r < 0)
                return r;
        if (report.kind != INIT_REPORT_READY)
                return fault_set(fault, report.error < 0 ? report.error : -EIO, "%s",
                                 init_report_text(&report));
        int pidfd = process_open_pidfd(report.pid);
        if (pidfd < 0) {
                (void) kill(report.pid, SIGKILL);
                return fault_set_errno(fault, pidfd, "cannot hold the container's init");
        }
        *ret_pid = report.pid;
        *ret_pidfd = pidfd;
        return 0;
}

int launch_init(ContainerPlan *plan, LaunchMain main, pid_t *ret_pid, int *ret_pidfd, Fault *fault) {
        if (namespaces_need_launcher(plan))
                return launch_through_launcher(plan, main, ret_pid, ret_pidfd, fault);

        int pidfd = -EBADF;
        pid_t pid = clone_init(plan, 0, &pidfd);
        if (pid == 0)
                main(plan);
        if (pid < 0)
                return clone_fault(pid, fault);
        *ret_pid = pid;
        *ret_pidfd = pidfd;
        return 0;
}
