/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/exec.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/message.h"
#include "lib/process.h"
#include "runtime/capabilities.h"
#include "runtime/exec-steps.h"
#include "runtime/init-report.h"
#include "runtime/launch.h"
#include "runtime/namespaces.h"
#include "runtime/scheduling.h"
#include "runtime/seccomp-filter.h"
#include "runtime/seccomp-notify.h"
#include "runtime/security-label.h"

#define FDINFO_SIZE_MAX 4096

struct Exec {
        pid_t pid;
        int pidfd;
        int terminal_fd; /* the master */
};

/* The number that init has in the caller's pid namespace; a pidfd's fdinfo says -1 when it is gone. */
static int read_pid(const ContainerPlan *plan, int init, pid_t *ret) {
        char path[64];
        _cleanup_free_ char *text = NULL;
        (void) snprintf(path, sizeof(path), "self/fdinfo/%i", init);
        _cleanup_close_ int fd = openat(plan->proc_fd, path, O_RDONLY | O_CLOEXEC);
        int r = fd < 0 ? -errno : fd_read_all(fd, FDINFO_SIZE_MAX, &text, NULL);
        if (r < 0)
                return r;
        const char *line = strstr(text, "\nPid:\t");
        *ret = line ? (pid_t) strtol(line + strlen("\nPid:\t"), NULL, 10) : 0;
        return *ret > 0 ? 0 : -ESRCH;
}

/* In a tree that others see, too, the container's root is a directory, to which no namespace leads: it is
 * init's, looked up by number, and that was init's number if init still runs afterwards. */
static int open_root(ExecPlan *exec, Fault *fault) {
        ContainerPlan *plan = &exec->plan;
        char path[64];
        pid_t pid = 0;
        if (plan_owns_mounts(plan))
                return 0;
        int r = read_pid(plan, exec->init, &pid);
        if (r >= 0) {
                (void) snprintf(path, sizeof(path), "%i/root", pid);
                plan->rootfs_fd = openat(plan->proc_fd, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
                plan->own_rootfs_fd = true;
                r = plan->rootfs_fd < 0 ? -errno : process_send_signal(exec->init, 0);
        }
        return r < 0 ? fault_set_errno(fault, r, "the container's root") : 0;
}

static int prepare(const ContainerRequest *request, int init, ExecPlan *exec, Fault *fault) {
        ContainerPlan *plan = &exec->plan;
        int r;
        plan_init(plan, request);
        exec->init = init;
        exec->namespaces = namespaces_to_enter(request->config);
        if ((r = plan_check_request(request, fault)) < 0 || (r = plan_open_own_tree(plan, fault)) < 0 ||
            (r = open_root(exec, fault)) < 0 || (r = capabilities_prepare(plan, fault)) < 0 ||
            (r = security_label_prepare(plan, fault)) < 0 || (r = seccomp_filter_prepare(plan, fault)) < 0 ||
            (r = seccomp_notify_prepare(plan, fault)) < 0 ||
            (r = message_pair(&plan->parent_socket, &plan->init_socket)) < 0)
                return r;
        return fd_set_nonblocking(plan->parent_socket, false);
}

static int clone_fault(int error, Fault *fault) {
        if (error == -EBUSY)
                return fault_set(fault, error,
                                 "the container's cgroup takes no process: it has controllers enabled for "
                                 "cgroups below it (see --cgroup)");
        if (error == -ENODEV)
                return fault_set(fault, error, "the container's cgroup was removed");
        return fault_set_errno(fault, error, "cannot clone a process into the container");
}

/* A pid namespace is joined for children only. The caller's own ones are what they were afterwards. */
static int clone_with_pid_namespace(ExecPlan *exec, int *ret_pidfd, Fault *fault) {
        _cleanup_close_ int own = -EBADF;
        if (exec->namespaces & CLONE_NEWPID) {
                own = openat(exec->plan.proc_fd, "self/ns/pid_for_children", O_RDONLY | O_CLOEXEC);
                if (own < 0)
                        return fault_set_errno(fault, -errno, "the own pid namespace");
                if (setns(exec->init, CLONE_NEWPID) < 0)
                        return fault_set_errno(fault, -errno, "joining the container's pid namespace");
                exec->namespaces &= ~CLONE_NEWPID;
        }
        /* The copy is in the container's sight from its first moment. */
        int dumpable = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);
        (void) prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
        pid_t pid = launch_clone(exec->plan.request->cgroup_fd, 0, ret_pidfd);
        if (pid == 0)
                exec_steps_run(exec);
        if (dumpable == 1)
                (void) prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
        if (own >= 0 && setns(own, CLONE_NEWPID) < 0 && pid >= 0) {
                pid = -errno;
                *ret_pidfd = process_kill_and_reap(*ret_pidfd);
        }
        return pid < 0 ? clone_fault(pid, fault) : pid;
}

/* Who is not root has the right to the other namespaces only once the user namespace is joined, and then no
 * way back: a process between the two joins all, and clones the one that is wanted as its own sibling. */
static _noreturn_ void launcher_run(ExecPlan *exec, int answer) {
        int pidfd = -EBADF;
        /* Both are in the container's sight as soon as they have joined: before that they are closed to it,
         * and the file that is the launcher's own only until then is written, for both. */
        exec->oom_score_result = exec_steps_set_oom_score(&exec->plan);
        exec->oom_score_tried = true;
        (void) prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
        pid_t pid = setns(exec->init, exec->namespaces) < 0 ? (pid_t) -errno : 0;
        exec->namespaces = 0;
        if (pid == 0)
                pid = launch_clone(exec->plan.request->cgroup_fd, CLONE_PARENT, &pidfd);
        if (pid == 0) {
                fd_close(answer);
                exec_steps_run(exec);
        }
        (void) fd_write_all(answer, &pid, sizeof(pid));
        _exit(EXIT_SUCCESS);
}

static int clone_through_launcher(ExecPlan *exec, int *ret_pidfd, Fault *fault) {
        int answer[2];
        if (pipe2(answer, O_CLOEXEC) < 0)
                return -errno;
        pid_t launcher = fork(), pid = 0;
        if (launcher == 0) {
                fd_close(answer[0]);
                launcher_run(exec, answer[1]);
        }
        int r = launcher < 0 ? -errno : 0;
        fd_close(answer[1]);
        ssize_t n = r < 0 ? r : fd_read_full(answer[0], &pid, sizeof(pid));
        fd_close(answer[0]);
        if (launcher > 0)
                while (waitpid(launcher, NULL, 0) < 0 && errno == EINTR)
                        ;
        if (n < 0)
                return (int) n;
        if (n != sizeof(pid) || pid == 0)
                return fault_set(fault, -EIO, "the process that joins the container ended without a word");
        if (pid < 0)
                return fault_set_errno(fault, pid, "joining the container's namespaces");
        *ret_pidfd = process_open_pidfd(pid);
        return *ret_pidfd < 0 ? *ret_pidfd : pid;
}

static int silent_end_to_fault(Exec *exec, Fault *fault) {
        siginfo_t info = { 0 };
        int r = process_wait(exec->pidfd, 0, &info);
        exec->pidfd = fd_close(exec->pidfd);
        const char *name = r > 0 && info.si_code != CLD_EXITED ? signal_to_string(info.si_status) : NULL;
        return fault_set(fault, -EIO, "the process ended before its program was executed%s%s",
                         name ? ", by " : "", name ? name : "");
}

/* Of a filter that asks an agent, which the process waits for. */
static int hand_over(const Exec *exec, const ExecPlan *plan, int listener, Fault *fault) {
        char go = 1;
        HookState state = {
                .id = plan->plan.request->id,
                .bundle = plan->plan.request->bundle,
                .status = "running",
        };
        int r = read_pid(&plan->plan, plan->init, &state.pid);
        if (r >= 0)
                r = seccomp_notify_hand_over(&plan->plan, exec->pid, &state, listener, fault);
        return r < 0 ? r : message_send(plan->plan.parent_socket, &go, sizeof(go), NULL, 0);
}

/* The terminal's message, if there is one; then that all is ready; then the end, which is the success of
 * execve(2): the socket is close-on-exec. */
static int wait_until_executed(Exec *exec, const ExecPlan *plan, Fault *fault) {
        for (bool ready = false;;) {
                InitReport report;
                int fds[MESSAGE_FDS_MAX];
                size_t fd_count = 0;
                ssize_t n =
                        message_receive(plan->plan.parent_socket, &report, sizeof(report), fds, &fd_count);
                if (n == 0 || n == -ECONNRESET)
                        return ready ? 0 : silent_end_to_fault(exec, fault);
                if (n < 0)
                        return fault_set_errno(fault, (int) n, "what the process said");
                if (n == sizeof(report) && report.kind == INIT_REPORT_TERMINAL && fd_count == 1 &&
                    exec->terminal_fd < 0) {
                        exec->terminal_fd = TAKE_FD(fds[0]);
                        continue;
                }
                _cleanup_close_ int listener = fd_count == 1 ? TAKE_FD(fds[0]) : -EBADF;
                fd_close_many(fds, fd_count);
                if (n != sizeof(report))
                        return fault_set(fault, -EBADMSG, "what the process said is not understood");
                if (report.kind == INIT_REPORT_FAILED)
                        return init_report_to_fault(&report, fault);
                ready = report.kind == INIT_REPORT_READY;
                int r = report.kind == INIT_REPORT_LISTENER ? hand_over(exec, plan, listener, fault) : 0;
                if (r < 0)
                        return r;
        }
}

/* Where the process is to be while it comes into its cgroup is where this one is while it makes it. */
static int clone_with_affinity(Exec *exec, ExecPlan *plan, Fault *fault) {
        const char *initial = plan->plan.config->process.affinity_initial;
        cpu_set_t own;
        int r = 0;
        if (initial && sched_getaffinity(0, sizeof(own), &own) < 0)
                return fault_set_errno(fault, -errno, "the own CPU affinity");
        if (initial)
                r = scheduling_set_affinity(0, initial, "process.execCPUAffinity.initial", fault);
        if (r < 0)
                return r;
        r = geteuid() == 0 ? clone_with_pid_namespace(plan, &exec->pidfd, fault)
                           : clone_through_launcher(plan, &exec->pidfd, fault);
        if (initial)
                (void) sched_setaffinity(0, sizeof(own), &own);
        return r;
}

static int start(Exec *exec, ExecPlan *plan, Fault *fault) {
        int pid = clone_with_affinity(exec, plan, fault);
        if (pid < 0)
                return pid;
        exec->pid = pid;
        plan->plan.init_socket = fd_close(plan->plan.init_socket);
        int r = wait_until_executed(exec, plan, fault);
        if (r < 0)
                exec->pidfd = process_kill_and_reap(exec->pidfd);
        return r;
}

int exec_start(const ContainerRequest *request, int init, char *own_pid, Exec **ret, Fault *fault) {
        _cleanup_(exec_freep) Exec *exec = new0(Exec, 1);
        ExecPlan plan = { .own_pid = own_pid };
        if (!exec)
                return -ENOMEM;
        exec->pidfd = exec->terminal_fd = -EBADF;
        int r = prepare(request, init, &plan, fault);
        if (r >= 0)
                r = start(exec, &plan, fault);
        plan_done(&plan.plan);
        if (r < 0)
                return fault_set_errno(fault, r, "cannot execute a process in the container");
        *ret = TAKE_PTR(exec);
        return 0;
}

pid_t exec_pid(const Exec *exec) {
        return exec->pid;
}

int exec_pidfd(const Exec *exec) {
        return exec->pidfd;
}

int exec_take_terminal(Exec *exec) {
        return TAKE_FD(exec->terminal_fd);
}

Exec *exec_free(Exec *exec) {
        if (!exec)
                return NULL;
        fd_close(exec->pidfd);
        fd_close(exec->terminal_fd);
        return mfree(exec);
}
