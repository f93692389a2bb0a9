/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Who has sent a message that has not been read yet. The bus is asked on a connection beside that on which
 * the message waits: on the same one the answer would come after it. */

#include <sys/types.h>
#include <systemd/sd-bus.h>

#include "lib/macros.h"

typedef struct SenderUser SenderUser;

int sender_user_new(sd_event *event, SenderUser **ret);
SenderUser *sender_user_free(SenderUser *user);
DEFINE_CLEANUP(SenderUser *, sender_user_free);

/* -EAGAIN: the bus has been asked; ask for the same one again. -ENXIO: it is gone. Of others there is no
 * answer, either. */
int sender_user_find(SenderUser *user, const char *unique_name, uid_t *ret);
