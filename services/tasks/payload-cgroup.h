/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The cgroup of a container's processes: a child of the scope that systemd delegates, beside the
 * supervisor's. */

#include <stdbool.h>
#include <stdint.h>

#define PAYLOAD_CGROUP "payload"
#define SUPERVISOR_CGROUP "supervisor"

/* Opens the calling process's own cgroup. */
int cgroup_open_own(void);
/* Whether that is one of a scope. */
bool cgroup_is_scope(void);
/* Makes the payload's cgroup in a scope's. */
int payload_cgroup_make(int scope);

/* Moves this process out of the scope's own cgroup, so that controllers can be enabled for those below;
 * without controllers there is no need. */
int cgroup_delegate_controllers(int scope);

/* A signal to every process in a cgroup and below it. */
int payload_cgroup_signal(int cgroup, int signal);

/* Whether the kernel killed something in it for want of memory. */
bool cgroup_ran_out_of_memory(int cgroup);
