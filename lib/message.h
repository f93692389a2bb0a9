/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Messages between a daemon and its own worker or supervisor: one datagram on a SOCK_SEQPACKET socket, with
 * descriptors. */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "lib/macros.h"

#define MESSAGE_FDS_MAX 8
#define MESSAGE_SIZE_MAX (64U * 1024U)

/* A connected pair, O_CLOEXEC; the first end is non-blocking (the daemon's). */
int message_pair(int *ret_daemon, int *ret_worker);

/* Sends one message whole. -EAGAIN on a non-blocking socket that is full, -EPIPE when the other end is gone.
 */
int message_send(int socket, const void *data, size_t size, const int *fds, size_t fd_count);

/* Receives one. 0 at end of file. -EMSGSIZE if it (or its descriptors) did not fit; no descriptor is ever
 * leaked. fds has room for MESSAGE_FDS_MAX (or is NULL: then a message with descriptors is an error). */
ssize_t message_receive(int socket, void *data, size_t size, int *fds, size_t *ret_fd_count);
