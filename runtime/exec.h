/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One more process in a container that runs, seen from the process that clones it: the OCI runtimes' "exec".
 * The container's own processes may be hostile, and see the new one from the moment when it is in their
 * namespaces. */

#include "runtime/container.h"

typedef struct Exec Exec;

#define EXEC_PID_SIZE 16

/* request->config is the container's, with what is to run as its process; bundle_fd, rootfs_fd, start_fd and
 * result_fd of the request are not used. init is a pidfd of the container's init. own_pid, if not NULL, has
 * room for EXEC_PID_SIZE bytes, into which the process writes its own number in the container (a place in
 * its environment, say). The answer comes when the program is executed; when that fails nothing is left. */
int exec_start(const ContainerRequest *request, int init, char *own_pid, Exec **ret, Fault *fault);

pid_t exec_pid(const Exec *exec);
/* Borrowed. */
int exec_pidfd(const Exec *exec);
/* The terminal's master side, for the caller to keep; -EBADF without a terminal, or when taken already. */
int exec_take_terminal(Exec *exec);

/* The process itself goes on. */
Exec *exec_free(Exec *exec);
DEFINE_CLEANUP(Exec *, exec_free);
