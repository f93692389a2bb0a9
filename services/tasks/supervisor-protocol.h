/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the service and the supervisor of a container say to each other: fixed messages on SOCK_SEQPACKET
 * sockets. After an upgrade the two are of different builds, so what is there is never changed, only added
 * to at the end: a shorter message is as if the rest were 0, of a longer one the rest is not looked at.
 *
 *   service → supervisor                          supervisor → service
 *   DESCRIPTORS (fds)…   sources of mounts
 *   GO (mount, stdio)                             STARTED (terminal)  RUN_PAYLOAD is written
 *   RESIZE                                        EXITED              RUN_EXIT is written
 *   SEEN                 EXITED has arrived
 *
 * The first connection is inherited. When it ends before GO, the supervisor ends as well; after GO it goes
 * on, and takes further connections on its listening socket. To each it says STARTED or EXITED at once. If
 * nobody is connected, or nobody says SEEN, it tells the service through the socket that activates it. */

#include <stdint.h>
#include <string.h>
#include <sys/types.h>

#include "lib/macros.h"

/* Where systemd listens for the end of containers. */
#define SUPERVISOR_EXIT_SOCKET "/run/crt/tasks.sock"

typedef enum SupervisorMessageType {
        SUPERVISOR_DESCRIPTORS = 1,
        SUPERVISOR_GO = 2,
        SUPERVISOR_RESIZE = 3,
        SUPERVISOR_SEEN = 4,
        SUPERVISOR_STARTED = 65,
        SUPERVISOR_EXITED = 66,
} SupervisorMessageType;

/* GO: which descriptors follow the mount, in this order. */
#define SUPERVISOR_STDIN (1U << 0)
#define SUPERVISOR_STDOUT (1U << 1)
#define SUPERVISOR_STDERR (1U << 2)

typedef struct SupervisorMessage {
        uint32_t type;
        uint32_t flags;
        int32_t value;          /* GO: the signal that asks the container to stop */
        uint32_t rows, columns; /* GO, RESIZE */
        uint32_t reserved;
} SupervisorMessage;

/* The descriptors that the supervisor is executed with, and the arguments: program, namespace, id. */
enum {
        SUPERVISOR_FD_CONTROL = 3,   /* the first connection */
        SUPERVISOR_FD_LISTENER = 4,  /* RUN_CONTROL */
        SUPERVISOR_FD_DIRECTORY = 5, /* the container's directory below /run */
        SUPERVISOR_FD_CACHE = 6,     /* compiled system call filters */
        SUPERVISOR_FD_END,
};

#define SUPERVISOR_DESCRIPTORS_MAX 64

/* What of the received bytes is a message; 0 if it is none. */
static inline int supervisor_message_parse(const void *data, ssize_t size, SupervisorMessage *ret) {
        SupervisorMessage message = { 0 };
        if (size < (ssize_t) sizeof(message.type))
                return 0;
        memcpy(&message, data, MIN_OF((size_t) size, sizeof(message)));
        *ret = message;
        return 1;
}

/* What the supervisor writes into SUPERVISOR_EXIT_SOCKET: namespace and id with their NULs. */
#define SUPERVISOR_EXIT_NOTE_MAX 256
