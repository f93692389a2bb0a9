/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Descriptors that a daemon was sent. Closing a file asks its file system, and that of a FUSE mount is a
 * program of whoever sent it, which need never answer. sd-bus closes what a message has brought by itself,
 * whether anybody looks at it or not, so close() and recvmsg() are this module's for the whole daemon: it
 * knows what came from somewhere else, and has that closed by threads which do nothing else. A number is
 * free again before its file system is asked. A user has so many threads at most (lib/limits.h), so that
 * nobody's files hold up those of others.
 *
 * Whatever else would ask it is not for the loop either: use fd_look() for fstat(), and leave reading and
 * poll() to workers, whose descriptors nobody else is in possession of (process_reserve_descriptors()). */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* For daemon_main(). */
int foreign_fd_setup(void);

/* For who sees messages first (bus/authorize.c). What came with the message that was read last, if that has
 * this number, is this sender's: whether there is any. And who that is, when it is known; until then it is
 * one with all others of whom it is not. */
bool foreign_fd_claim(uint32_t serial, uint64_t sender);
void foreign_fd_know(uint64_t sender, uid_t uid);
/* Some are being closed: a process can't end before they are, or before their file system gives up. */
bool foreign_fd_is_closing(void);
