/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/container.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "lib/fd.h"
#include "lib/message.h"
#include "lib/process.h"
#include "runtime/cgroup-delegation.h"
#include "runtime/hooks.h"
#include "runtime/init-report.h"
#include "runtime/init-steps.h"
#include "runtime/intel-rdt.h"
#include "runtime/launch.h"
#include "runtime/net-devices.h"
#include "runtime/plan.h"
#include "runtime/process-limits.h"
#include "runtime/scheduling.h"
#include "runtime/seccomp-notify.h"
#include "runtime/user.h"

/* Small: a supervisor holds one for as long as its container lives. */
struct Container {
        pid_t pid;
        int pidfd;
        bool told; /* that it may start */
        bool started;
        int socket;      /* to a waiting init */
        int terminal_fd; /* the master */
        int listener_fd; /* of seccomp, until it is handed over */
};

/* Init ended without a word: killed from outside, by a limit of its cgroup, or by a seccomp filter. */
static int silent_end_to_fault(Container *container, const char *when, Fault *fault) {
        siginfo_t info = { 0 };
        (void) process_send_signal(container->pidfd, SIGKILL);
        int r = process_wait(container->pidfd, 0, &info);
        container->pidfd = fd_close(container->pidfd);
        if (r <= 0 || info.si_code == CLD_EXITED)
                return fault_set(fault, -EIO, "the container's init ended while %s", when);
        const char *name = signal_to_string(info.si_status);
        return fault_set(fault, -EIO, "the container's init died of %s while %s%s", name ? name : "a signal",
                         when,
                         info.si_status == SIGSYS    ? " (the seccomp profile forbids what a start needs)"
                         : info.si_status == SIGKILL ? " (a memory limit?)"
                                                     : "");
}

/* One report; 0 at end of file. */
static int receive_report(Container *container, InitReport *report) {
        int fds[MESSAGE_FDS_MAX];
        size_t fd_count = 0;
        ssize_t n = message_receive(container->socket, report, sizeof(*report), fds, &fd_count);
        if (n <= 0)
                return n == -ECONNRESET ? 0 : (int) n;
        if (n == sizeof(*report) && report->kind == INIT_REPORT_TERMINAL && fd_count == 1 &&
            container->terminal_fd < 0)
                container->terminal_fd = TAKE_FD(fds[0]);
        else if (n == sizeof(*report) && report->kind == INIT_REPORT_LISTENER && fd_count == 1 &&
                 container->listener_fd < 0)
                container->listener_fd = TAKE_FD(fds[0]);
        else
                fd_close_many(fds, fd_count);
        return n == sizeof(*report) ? 1 : -EBADMSG;
}

static int hand_listener_over(Container *container, const ContainerPlan *plan, Fault *fault) {
        _cleanup_close_ int listener = TAKE_FD(container->listener_fd);
        const HookState state = {
                .id = plan->request->id,
                .bundle = plan->request->bundle,
                .status = "creating",
                .pid = container->pid,
        };
        return seccomp_notify_hand_over(plan, container->pid, &state, listener, fault);
}

/* What init waits for. */
static int serve_report(Container *container, const ContainerPlan *plan, InitReport *report, Fault *fault) {
        char go = 1;
        int r;
        switch (report->kind) {
        case INIT_REPORT_TERMINAL:
                return 0;
        case INIT_REPORT_HOOKS:
                r = hooks_run_outside(plan, container->pid, fault);
                break;
        case INIT_REPORT_LISTENER:
                r = hand_listener_over(container, plan, fault);
                break;
        default:
                return init_report_to_fault(report, fault);
        }
        return r < 0 ? r : message_send(container->socket, &go, sizeof(go), NULL, 0);
}

static int wait_until_ready(Container *container, const ContainerPlan *plan, Fault *fault) {
        for (;;) {
                InitReport report;
                int r = receive_report(container, &report);
                if (r < 0)
                        return fault_set_errno(fault, r, "what the container's init said");
                if (r == 0)
                        return silent_end_to_fault(container, "it was set up", fault);
                if (report.kind == INIT_REPORT_READY)
                        return 0;
                r = serve_report(container, plan, &report, fault);
                if (r < 0)
                        return r;
        }
}

static int work_beside_init(const Container *container, ContainerPlan *plan, Fault *fault) {
        const ContainerRequest *request = plan->request;
        int r;
        if ((r = cgroup_delegation_give(plan, fault)) < 0 ||
            (r = intel_rdt_join(plan, container->pid, fault)) < 0 ||
            (r = net_devices_move(plan, container->pid, fault)) < 0)
                return r;
        return request->meanwhile ? request->meanwhile(request->userdata, container->pid, fault) : 0;
}

/* Who works on an init that has failed and ended fails as well, for no reason of its own. */
static int prefer_word_of_init(Container *container, int error, Fault *fault) {
        struct pollfd said = { .fd = container->socket, .events = POLLIN };
        InitReport report;
        if (poll(&said, 1, 0) <= 0 || receive_report(container, &report) <= 0 ||
            report.kind != INIT_REPORT_FAILED)
                return error;
        fault_done(fault);
        return init_report_to_fault(&report, fault);
}

static int set_process(const Container *container, const ContainerPlan *plan, Fault *fault) {
        int r = plan->unprivileged ? 0 : process_limits_set_oom_score(plan, container->pid, fault);
        return r < 0 ? r : scheduling_set(&plan->config->process, container->pid, fault);
}

static int create(Container *container, ContainerPlan *plan, Fault *fault) {
        const char go = 1;
        int r = launch_init(plan, init_steps_run, &container->pid, &container->pidfd, fault);
        if (r < 0)
                return r;
        plan->init_socket = fd_close(plan->init_socket);
        if (plan_has_new_namespace(plan, RUNTIME_NAMESPACE_USER) && !plan->unprivileged) {
                if ((r = process_limits_make_room(plan, container->pid, fault)) < 0 ||
                    (r = user_write_mappings(plan, container->pid, fault)) < 0)
                        return r;
        }
        container->socket = TAKE_FD(plan->parent_socket);
        r = work_beside_init(container, plan, fault);
        if (r >= 0 && plan->request->starts_at_once)
                r = set_process(container, plan, fault);
        if (r < 0)
                return prefer_word_of_init(container, r, fault);
        /* One that has ended already says so below. */
        container->told = plan->request->starts_at_once &&
                          message_send(container->socket, &go, sizeof(go), NULL, 0) >= 0;
        r = wait_until_ready(container, plan, fault);
        return r < 0 || plan->request->starts_at_once ? r : set_process(container, plan, fault);
}

bool container_can_start_at_once(const RuntimeConfig *config) {
        for (size_t i = 0; i < _RUNTIME_HOOK_KIND_MAX; i++)
                if (config->hooks[i].count > 0)
                        return false;
        return !config->process.terminal && !(config->seccomp && config->seccomp->notifies);
}

int container_create(const ContainerRequest *request, Container **ret, Fault *fault) {
        _cleanup_(container_freep) Container *container = new0(Container, 1);
        ContainerPlan plan;
        if (!container)
                return -ENOMEM;
        container->pidfd = container->socket = container->terminal_fd = container->listener_fd = -EBADF;

        int r = plan_prepare(request, &plan, fault);
        if (r >= 0)
                r = create(container, &plan, fault);
        if (r < 0) {
                net_devices_take_back(&plan);
                /* Before its class of service, which would hand it on to the default one. */
                container->pidfd = process_kill_and_reap(container->pidfd);
                if (plan.in_resctrl)
                        intel_rdt_remove(request->config, request->id);
        }
        plan_done(&plan);
        if (r < 0)
                return fault_set_errno(fault, r, "cannot create the container");
        *ret = TAKE_PTR(container);
        return 0;
}

/* The socket is close-on-exec in init: its end without a word is the success of execve(). */
int container_start(Container *container, Fault *fault) {
        char go = 1;
        InitReport report;
        if (container->started || container->socket < 0)
                return fault_set(fault, -EBUSY, "the container was started before");
        int r = container->told ? 0 : message_send(container->socket, &go, sizeof(go), NULL, 0);
        if (r == -EPIPE || r == -ECONNRESET)
                return silent_end_to_fault(container, "it waited for its start", fault);
        if (r < 0)
                return fault_set_errno(fault, r, "telling the container's init to start");
        r = receive_report(container, &report);
        if (r < 0)
                return fault_set_errno(fault, r, "what the container's init said");
        if (r > 0) {
                r = init_report_to_fault(&report, fault);
                container->pidfd = process_kill_and_reap(container->pidfd);
        }
        container->socket = fd_close(container->socket);
        container->started = r == 0;
        return r;
}

pid_t container_pid(const Container *container) {
        return container->pid;
}

int container_pidfd(const Container *container) {
        return container->pidfd;
}

int container_take_terminal(Container *container) {
        return TAKE_FD(container->terminal_fd);
}

int container_kill(Container *container, int signal) {
        return container->pidfd < 0 ? -ESRCH : process_send_signal(container->pidfd, signal);
}

Container *container_release(Container *container) {
        if (!container)
                return NULL;
        fd_close(container->socket);
        fd_close(container->pidfd);
        fd_close(container->terminal_fd);
        fd_close(container->listener_fd);
        return mfree(container);
}

Container *container_free(Container *container) {
        if (container && !container->started)
                container->pidfd = process_kill_and_reap(container->pidfd);
        return container_release(container);
}
