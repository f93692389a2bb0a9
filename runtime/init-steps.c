/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/init-steps.h"

#include <errno.h>
#include <unistd.h>

#include "lib/fd.h"
#include "runtime/devices.h"
#include "runtime/hooks.h"
#include "runtime/init-report.h"
#include "runtime/masked-paths.h"
#include "runtime/mounts.h"
#include "runtime/namespaces.h"
#include "runtime/own-process.h"
#include "runtime/program.h"
#include "runtime/rootfs.h"
#include "runtime/scheduling.h"
#include "runtime/security-label.h"
#include "runtime/staging.h"
#include "runtime/steps.h"
#include "runtime/sysctl.h"
#include "runtime/terminal.h"
#include "runtime/user.h"

/* The order is the contract. The tree is built while the host's can still be seen; what needs privileges
 * comes before they go; what the payload could influence comes last, in steps_to_program. */
static const Step steps[] = {
        { "user namespace", user_step_wait_for_mappings },
        { "time namespace", namespaces_step_time },
        { "own process", own_process_step_reset },
        { "namespaces", namespaces_step_join },
        { "user namespace", user_step_become_root },
        { "cgroup namespace", namespaces_step_cgroup },
        { "keyring", own_process_step_keyring },
        { "host name", namespaces_step_names },
        { "security label", security_label_step_set },
        { "laid out mounts", staging_step_take },
        { "root file system", rootfs_step_attach },
        { "mounts", mounts_step_attach },
        { "devices", devices_step_create },
        { "terminal", terminal_step_open },
        { "working directory", program_step_make_directory },
        { "sysctl", sysctl_step_write },
        { "memory policy", scheduling_step_memory_policy },
        { "personality", scheduling_step_personality },
        { "read-only paths", masked_paths_step_readonly },
        { "masked paths", masked_paths_step_mask },
        { "hooks", hooks_step_wait_for_outside },
        { "hooks", hooks_step_create_container },
        { "read-only root", rootfs_step_readonly },
        { "root file system", rootfs_step_pivot },
};

const char *const *init_steps_names(void) {
        static const char *names[ELEMENTS_OF(steps) + STEPS_TO_PROGRAM + 1];
        for (size_t i = 0; i < ELEMENTS_OF(steps); i++)
                names[i] = steps[i].name;
        for (size_t i = 0; i < STEPS_TO_PROGRAM; i++)
                names[ELEMENTS_OF(steps) + i] = steps_to_program[i].name;
        return names;
}

/* Only read() and write() from here on, unless there are hooks: a seccomp filter is in force that knows
 * nothing of the runtime. */
static int wait_for_start(ContainerPlan *plan) {
        InitReport report = init_report_make(INIT_REPORT_READY, "", 0, "");
        char go;
        int r = fd_write_all(plan->init_socket, &report, sizeof(report));
        if (r < 0)
                return r;
        if (plan->start_fd >= 0)
                plan->init_socket = fd_close(plan->init_socket);
        ssize_t n = fd_read_full(plan->start_fd >= 0 ? plan->start_fd : plan->init_socket, &go, sizeof(go));
        return n == sizeof(go) ? 0 : -ECANCELED;
}

_noreturn_ void init_steps_run(ContainerPlan *plan) {
        Fault fault = FAULT_NULL;
        plan->parent_socket = fd_close(plan->parent_socket);
        steps_run(plan, steps, ELEMENTS_OF(steps));
        steps_run(plan, steps_to_program, STEPS_TO_PROGRAM);
        if (wait_for_start(plan) < 0)
                _exit(EXIT_FAILURE);
        int r = hooks_run_inside(plan, &fault);
        if (r >= 0)
                r = program_execute(plan, &fault);
        steps_fail(plan->result_fd >= 0 ? plan->result_fd : plan->init_socket, "start", r, &fault);
}
