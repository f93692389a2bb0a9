/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Where something is mounted in the container's tree: found or made by descriptor, never by a path that the
 * container's content could bend. */

#include <stdbool.h>

#include "lib/fault.h"
#include "lib/macros.h"

typedef enum MountTargetLinks {
        MOUNT_TARGET_FOLLOW,   /* symbolic links resolve inside the root */
        MOUNT_TARGET_NOFOLLOW, /* they do, but for the last component, which may be one itself */
        MOUNT_TARGET_REFUSE,   /* no link may be on the way: for what the runtime itself relies on */
} MountTargetLinks;

/* An O_PATH descriptor of destination beneath root; a missing directory or file is made. -ELOOP for a link
 * where none may be, and for a destination that is the root itself. */
int mount_target_open(int root, const char *destination, bool directory, MountTargetLinks links, int *ret,
                      Fault *fault);

/* A symbolic link at destination beneath root, whose directory is made if it is missing. No error if it is
 * there already. */
int mount_target_make_link(int root, const char *destination, const char *text, Fault *fault);

/* Attaches a detached mount there. */
int mount_target_attach(int target, int mount_fd);
