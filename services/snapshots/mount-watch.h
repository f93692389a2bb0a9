/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Which of the writable mounts that this daemon handed out are still alive. Their descriptors are gone, and
 * they appear in no mount table that it can see; but the kernel tells of the end of a file system that is
 * being watched, and a watch keeps none alive. */

#include <stdint.h>
#include <systemd/sd-event.h>

#include "lib/macros.h"

typedef enum MountLife {
        MOUNT_UNKNOWN, /* handed out by an earlier run of the daemon, if at all; or what the kernel told was
                          lost */
        MOUNT_ALIVE,
        MOUNT_GONE,
} MountLife;

typedef struct MountWatch MountWatch;

int mount_watch_new(MountWatch **ret);
MountWatch *mount_watch_free(MountWatch *watch);
DEFINE_CLEANUP(MountWatch *, mount_watch_free);

/* gone() whenever some may have ended. */
int mount_watch_listen(MountWatch *watch, sd_event *event, void (*gone)(void *userdata), void *userdata);

int mount_watch_add(MountWatch *watch, int64_t id, int mount);
MountLife mount_watch_get(MountWatch *watch, int64_t id);
void mount_watch_remove(MountWatch *watch, int64_t id);
