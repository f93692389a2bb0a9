/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A process that a lease is bound to, written down so that it is known again and never taken for another one
 * that got its number: in this boot by the inode of its pidfd (Linux 6.9), or by when it was started. */

#include <stdbool.h>
#include <sys/types.h>

#include "lib/fault.h"

/* inode: false makes it be the start time, as on older kernels. -EINVAL: pidfd is none, -ESRCH: it has
 * ended, -EOPNOTSUPP: it can't be told from others. */
int lease_process_identify(int pidfd, bool inode, pid_t *ret_pid, char **ret_proof, Fault *fault);

/* A pidfd of the process, or -ESRCH: it has ended. */
int lease_process_open(pid_t pid, const char *proof);
