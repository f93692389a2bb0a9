/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Which processes are in a cgroup and below it. */

#include <stdbool.h>
#include <sys/types.h>

#include "lib/macros.h"

typedef struct CgroupMembers {
        pid_t *pids; /* in ascending order */
        size_t count;
} CgroupMembers;

int cgroup_members_read(int cgroup, CgroupMembers *ret);
/* One that is found in another way; in ascending order, too. */
int cgroup_members_add(CgroupMembers *members, pid_t pid);
bool cgroup_members_contain(const CgroupMembers *members, pid_t pid);
void cgroup_members_done(CgroupMembers *members);
