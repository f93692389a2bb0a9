/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the first bytes of a D-Bus message say of it, before anybody has read it (D-Bus specification,
 * "Message Format"). */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A unique name is far shorter. */
#define MESSAGE_HEAD_SENDER_SIZE 256

typedef struct MessageHead {
        uint8_t type;
        uint32_t serial;
        uint32_t fds;                          /* so many come with it */
        char sender[MESSAGE_HEAD_SENDER_SIZE]; /* empty if there is none */
} MessageHead;

/* Type and serial, of the fixed part alone. -EBADMSG: not a message, or less than that. */
int message_head_read_fixed(const void *data, size_t size, MessageHead *ret);
/* All of it. -EBADMSG: it is none, or it is longer than what is there. */
int message_head_read(const void *data, size_t size, MessageHead *ret);
