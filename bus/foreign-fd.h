/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Descriptors that a daemon was sent. Closing a file asks its file system, and that of a FUSE mount is a
 * program of whoever sent it, which need never answer. sd-bus closes what a message has brought by itself,
 * whether anybody looks at it or not, so close() and recvmsg() are this module's for the whole daemon: it
 * knows what came from somewhere else, and has that closed by threads which do nothing else. A number is
 * free again before its file system is asked.
 *
 * Whatever else would ask it is not for the loop either: use fd_look() for fstat(), and leave reading and
 * poll() to workers, whose descriptors nobody else is in possession of (process_reserve_descriptors()). */

/* For daemon_main(). */
int foreign_fd_setup(void);
