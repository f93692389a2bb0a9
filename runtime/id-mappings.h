/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* uidMappings and gidMappings, written for a user namespace: that of a container, or one that only lends its
 * mappings to a mount. */

#include <stdbool.h>
#include <sys/types.h>

#include "lib/fault.h"
#include "lib/runtime-config.h"

/* For the process with that pid. What an ordinary user may not write itself newuidmap(1) and newgidmap(1)
 * do, within /etc/subuid and /etc/subgid. proc is a descriptor of the caller's /proc. */
int id_mappings_write(const RuntimeIdMappings *mappings, pid_t pid, int proc, Fault *fault);

/* True if setgroups(2) has to be given up for the mappings: a single id of an ordinary user. */
bool id_mappings_deny_groups(const RuntimeIdMappings *mappings);

/* A user namespace with these mappings and no process. */
int id_mappings_open_namespace(const RuntimeIdMappings *mappings, int proc, Fault *fault);
