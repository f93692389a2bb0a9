/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Descriptors that a daemon was sent. Closing a file asks its file system, and that of a FUSE mount is a
 * program of whoever sent it, which need never answer. sd-bus closes what a message has brought by itself,
 * whether anybody looks at it or not, so close() and recvmsg() are this module's for the whole daemon: it
 * knows what came from somewhere else, and has that closed by threads which do nothing else. A number is
 * free again before its file system is asked. A user has so many threads at most (bus/slow-close.h), so that
 * nobody's files hold up those of others; and the numbers of what waits for one are bounded, too. While
 * there are too many of somebody's, it is found out whose a message is before it is read, and what his calls
 * bring is withheld: the kernel lets go of it without asking anybody, and the call is refused. It comes with
 * as many descriptors of nothing instead.
 *
 * Whatever else would ask it is not for the loop either: use fd_look() for fstat(), and leave reading and
 * poll() to workers, whose descriptors nobody else is in possession of (process_reserve_descriptors()). */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-bus.h>

#include "bus/peer.h"

/* For daemon_main(). */
int foreign_fd_setup(void);
/* What comes on this connection, until it ends. The calls on it are those of these peers. */
int foreign_fd_guard(sd_bus *bus, sd_event *event, PeerRegistry *peers);
void foreign_fd_unguard(void);

/* For who sees messages first (bus/authorize.c). What came with the message that was read last, if that has
 * this number, is this sender's: whether there is any, and whether it was withheld. And who that is, when it
 * is known; until then it is one with all others of whom it is not. */
bool foreign_fd_claim(uint32_t serial, uint64_t sender, bool *ret_withheld);
void foreign_fd_know(uint64_t sender, uid_t uid);
