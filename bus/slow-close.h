/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Closes descriptors of which nobody knows how long their file system takes, in threads that do nothing
 * else: so many for each user, and so many may wait for one (lib/limits.h). */

#include <stdbool.h>
#include <sys/types.h>

/* Of those of whom nothing is known, who share. */
#define SLOW_CLOSE_UID_UNKNOWN ((uid_t) -1)

/* The number may stay in use until a thread has time for it. */
void slow_close(int fd, uid_t uid);
/* A process can't end before it is over, or before their file systems give up. */
bool slow_close_is_under_way(void);
/* More of somebody's wait than may; and whether this user is to be sent no more for that. */
bool slow_close_is_crowded(void);
bool slow_close_is_full(uid_t uid);
