/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What one user may make a service hold at once. Root and the system users of crt are not limited;
 * lib/limits.h has the numbers. */

#include <stdbool.h>
#include <sys/types.h>

#include "lib/macros.h"

typedef enum QuotaKind {
        QUOTA_INGESTS,
        QUOTA_TRANSFERS,
        QUOTA_JOBS,
        QUOTA_CALLS,
        QUOTA_SNAPSHOTS,
        QUOTA_CONTAINERS,
        QUOTA_SURVEYS,
        QUOTA_RESOLVES,
        _QUOTA_KIND_MAX,
        _QUOTA_KIND_INVALID = -22,
} QuotaKind;

/* One unit of a user's share until it is freed. -EDQUOT when the share is used up. */
typedef struct QuotaHold QuotaHold;
int quota_hold_new(uid_t uid, QuotaKind kind, QuotaHold **ret);
QuotaHold *quota_hold_free(QuotaHold *hold);
DEFINE_CLEANUP(QuotaHold *, quota_hold_free);

/* For shares that are counted elsewhere: whether this user has one. */
bool quota_uid_is_limited(uid_t uid);

/* The uid of a system user of crt, looked up once; (uid_t) -1 if there is none. */
uid_t quota_system_uid(const char *user);
