/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Extended attributes of a layer's entries: which of them an archive may set, copies of them, and setting
 * them. */

#include <stdbool.h>

#include "lib/fault.h"
#include "services/snapshots/layer-archive.h"

typedef struct XattrList {
        LayerXattr *items; /* one allocation: the strings lie behind */
        size_t count;
        size_t bytes;
} XattrList;

/* user.*, file capabilities and POSIX ACLs. Not the overlay's own (user.overlay.*, trusted.*: they would let
 * an archive say what lies below it), nor labels of security modules, which are the host's to give. */
bool xattr_is_wanted(const char *name);

/* A copy of the wanted ones. */
int xattr_list_copy(const LayerXattr *xattrs, size_t count, XattrList *ret);
void xattr_list_done(XattrList *list);

/* Sets the wanted ones. What the file system has no room or no support for: user.* and ACLs are left out
 * where the file system knows none; a file capability is never left out silently. */
int entry_set_xattrs(int fd, const LayerXattr *xattrs, size_t count, const char *path, Fault *fault);
