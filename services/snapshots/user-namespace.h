/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* User namespaces as the kernel wants them for mounts with other ids: made from maps, or a caller's own; and
 * who may ask for which. */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/fault.h"
#include "lib/macros.h"

/* What the kernel takes in /proc/PID/uid_map. */
#define USER_MAP_MAX 340

typedef struct UserMapRange {
        uint32_t inside; /* as in the OCI runtime specification: container id, host id, count */
        uint32_t outside;
        uint32_t count;
} UserMapRange;

typedef struct UserMap {
        UserMapRange *ranges;
        size_t count;
} UserMap;

void user_map_done(UserMap *map);

/* Those that were made last, as containers tend to ask for the same again. */
typedef struct UserNamespaces UserNamespaces;
int user_namespaces_new(UserNamespaces **ret);
UserNamespaces *user_namespaces_free(UserNamespaces *cache);
DEFINE_CLEANUP(UserNamespaces *, user_namespaces_free);

/* A descriptor that is the cache's. -EINVAL with a sentence: the kernel takes no such maps. */
int user_namespaces_get(UserNamespaces *cache, const UserMap *uids, const UserMap *gids, Fault *fault);

/* 0, or -EACCES with a sentence: a host id is neither the user's own nor from a range that /etc/subuid and
 * /etc/subgid say is theirs. */
int user_map_check(const UserMap *uids, const UserMap *gids, uid_t user, Fault *fault);
/* 0; -EINVAL with a sentence: it is no user namespace other than the first; -EACCES: it is not this user's.
 */
int user_namespace_check(int fd, uid_t user, Fault *fault);
