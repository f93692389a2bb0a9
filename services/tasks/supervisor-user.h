/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Who a name is inside a root file system: its /etc/passwd and /etc/group, which are the image's and so
 * hostile. */

#include <stddef.h>
#include <stdint.h>

#include "lib/fault.h"

#define USER_GROUPS_MAX 1024

typedef struct UserIdentity {
        uint32_t uid, gid;
        uint32_t *groups; /* supplementary */
        size_t group_count;
        char *home; /* NULL: not in /etc/passwd */
} UserIdentity;

void user_identity_done(UserIdentity *identity);

/* "user[:group]", names or numbers. A number needs no entry; without one its group is 0. -ENOENT with
 * a sentence for a name that is not there. */
int user_resolve(int root, const char *user, UserIdentity *ret, Fault *fault);
