/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What create, run and exec hand to their caller beside an exit status: the terminal's master and a pidfd
 * through sockets, the pid in a file. */

#include <sys/types.h>

#include "lib/fault.h"

/* option is how sentences call it. The connected socket. */
int oci_delivery_connect(const char *option, const char *path, Fault *fault);
int oci_delivery_send_terminal(int socket, int terminal, Fault *fault);
int oci_delivery_send_pidfd(const char *path, int pidfd, Fault *fault);
/* Written aside and renamed: nobody reads half a number. */
int oci_delivery_write_pid(const char *path, pid_t pid, Fault *fault);
