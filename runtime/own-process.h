/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a process that was cloned has of its caller, and has to leave behind before it goes into a container.
 */

#include "runtime/plan.h"

/* Nothing of the caller stays: signal handlers, what it ignores (which execve(2) would keep) and mask,
 * session, umask. Until execve() this process has the runtime's memory and executable: to the container's
 * other processes it is not to be inspected through /proc (CVE-2016-9962, CVE-2019-5736). */
int own_process_step_reset(ContainerPlan *plan, Fault *fault);

/* The caller's keys are not the payload's. A kernel without keyrings has none to protect. */
int own_process_step_keyring(ContainerPlan *plan, Fault *fault);
