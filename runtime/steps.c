/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/steps.h"

#include <unistd.h>

#include "lib/fd.h"
#include "runtime/capabilities.h"
#include "runtime/home-directory.h"
#include "runtime/inherited-fds.h"
#include "runtime/init-report.h"
#include "runtime/process-limits.h"
#include "runtime/program.h"
#include "runtime/seccomp-filter.h"
#include "runtime/user.h"

_noreturn_ void steps_fail(int channel, const char *step, int error, const Fault *fault) {
        InitReport report = init_report_make(INIT_REPORT_FAILED, step, error, fault_text(fault, error));
        (void) fd_write_all(channel, &report, sizeof(report));
        _exit(EXIT_FAILURE);
}

void steps_run(ContainerPlan *plan, const Step *steps, size_t count) {
        Fault fault = FAULT_NULL;
        for (size_t i = 0; i < count; i++) {
                int r = steps[i].run(plan, &fault);
                if (r < 0)
                        steps_fail(plan->init_socket, steps[i].name, r, &fault);
        }
}

/* No descriptor of the host is open any more when the first path of the container is followed, the working
 * directory; a filter comes as late as it may: where no_new_privs allows it, after all that needs rights. */
const Step steps_to_program[STEPS_TO_PROGRAM] = {
        { "home directory", home_directory_step_set }, /* by the caller's /proc */
        { "descriptors", inherited_fds_step_arrange },
        { "working directory", program_step_enter_directory },
        { "no new privileges", capabilities_step_no_new_privileges },
        { "seccomp", seccomp_filter_step_early },
        { "limits", process_limits_step_set },
        { "capabilities", capabilities_step_bound },
        { "user", user_step_change },
        { "capabilities", capabilities_step_set },
        { "working directory", program_step_enter_directory_as_user },
        { "program", program_step_find },
        { "seccomp", seccomp_filter_step_late },
};
