/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/exec-steps.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/fd.h"
#include "runtime/exec.h"
#include "runtime/init-report.h"
#include "runtime/own-process.h"
#include "runtime/process-limits.h"
#include "runtime/program.h"
#include "runtime/scheduling.h"
#include "runtime/security-label.h"
#include "runtime/steps.h"
#include "runtime/terminal.h"
#include "runtime/user.h"

/* While this process still has the caller's rights: inside a user namespace none may be raised. */
static int step_limits_room(ContainerPlan *plan, Fault *fault) {
        return process_limits_make_room(plan, 0, fault);
}

int exec_steps_set_oom_score(const ContainerPlan *plan) {
        int64_t score = plan->config->process.oom_score_adj;
        char text[32];
        if (score == RUNTIME_UNSET)
                return 0;
        (void) snprintf(text, sizeof(text), "%" PRIi64, score);
        return fd_write_file_at(plan->proc_fd, "thread-self/oom_score_adj", text);
}

static int step_oom_score(ContainerPlan *plan, Fault *fault) {
        const ExecPlan *exec = (const ExecPlan *) plan;
        int r = exec->oom_score_tried ? exec->oom_score_result : exec_steps_set_oom_score(plan);
        return r < 0 ? fault_set_errno(fault, r, "process.oomScoreAdj: %" PRIi64,
                                       plan->config->process.oom_score_adj)
                     : 0;
}

static int step_scheduling(ContainerPlan *plan, Fault *fault) {
        const RuntimeProcess *process = &plan->config->process;
        int r = process->affinity_final ? scheduling_set_affinity(0, process->affinity_final,
                                                                  "process.execCPUAffinity.final", fault)
                                        : 0;
        return r < 0 ? r : scheduling_set(process, 0, fault);
}

/* All at once and by the pidfd: the kernel takes either all namespaces of that one process or none, no path
 * below /proc is looked up, and no state between two of them can be seen or used by the container. */
static int step_namespaces(ContainerPlan *plan, Fault *fault) {
        ExecPlan *exec = (ExecPlan *) plan;
        if (exec->namespaces && setns(exec->init, exec->namespaces) < 0)
                return fault_set_errno(fault, -errno, "joining the container's namespaces");
        return 0;
}

/* setns(2) with a mount namespace has made its root this process's "/" and working directory. It is not yet
 * the container's when that has no mount namespace of its own. */
static int step_root(ContainerPlan *plan, Fault *fault) {
        if (plan->rootfs_fd >= 0) {
                if (fchdir(plan->rootfs_fd) < 0 || chroot(".") < 0)
                        return -errno;
                fd_close(plan->rootfs_fd);
        }
        plan->rootfs_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
        return plan->rootfs_fd < 0 ? -errno : 0;
}

/* Only write() from here on: a seccomp filter is in force that knows nothing of the runtime. */
static int step_ready(ContainerPlan *plan, Fault *fault) {
        InitReport report = init_report_make(INIT_REPORT_READY, "", 0, "");
        return fd_write_all(plan->init_socket, &report, sizeof(report));
}

static int step_own_pid(ContainerPlan *plan, Fault *fault) {
        ExecPlan *exec = (ExecPlan *) plan;
        if (exec->own_pid)
                (void) snprintf(exec->own_pid, EXEC_PID_SIZE, "%i", getpid());
        return 0;
}

/* The order is the contract. The process is in the container's cgroup from its first moment, so its limits
 * and its device filter hold for all of this. Before it joins, it can't be inspected any more, and what
 * needs the caller's rights or /proc is done; what follows is init's, too: steps_to_program. */
static const Step steps[] = {
        { "own process", own_process_step_reset },
        { "limits", step_limits_room },
        { "out of memory", step_oom_score },
        { "scheduling", step_scheduling },
        { "namespaces", step_namespaces },
        { "user namespace", user_step_become_root },
        { "keyring", own_process_step_keyring },
        { "security label", security_label_step_set }, /* by the caller's /proc */
        { "root file system", step_root },
        { "terminal", terminal_step_open_another },
        { "own pid", step_own_pid },
        { "memory policy", scheduling_step_memory_policy },
        { "personality", scheduling_step_personality },
};

static const Step last_steps[] = {
        { "caller", step_ready },
        { "program", program_execute },
};

_noreturn_ void exec_steps_run(ExecPlan *exec) {
        ContainerPlan *plan = &exec->plan;
        plan->parent_socket = fd_close(plan->parent_socket);
        steps_run(plan, steps, ELEMENTS_OF(steps));
        steps_run(plan, steps_to_program, STEPS_TO_PROGRAM);
        steps_run(plan, last_steps, ELEMENTS_OF(last_steps));
        _exit(EXIT_FAILURE);
}
