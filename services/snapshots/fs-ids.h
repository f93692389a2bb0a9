/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Who makes files, for as long as it takes, with all that root may do to files. */

#include <sys/types.h>

/* Of the calling thread; 0 and 0 as it was. -EPERM: they can't be set. */
int fs_ids_set(uid_t uid, gid_t gid);
