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

/* Leaves those that an archive may set, and returns their number: user.*, file capabilities and POSIX ACLs.
 * Not the overlay's own (user.overlay.*, trusted.*: they would let an archive say what lies below it), and
 * labels of SELinux, which are the host's to give, only where that is wanted. */
size_t xattrs_select(LayerXattr *xattrs, size_t count, bool keep_labels);

int xattr_list_copy(const LayerXattr *xattrs, size_t count, XattrList *ret);
void xattr_list_done(XattrList *list);

/* What the file system or its kind of file has no support for is left out, and so are labels where no
 * security module takes them; but a file capability is never left out silently. */
int entry_set_xattrs(int fd, const LayerXattr *xattrs, size_t count, const char *path, Fault *fault);
/* For what can't be opened; the current directory becomes parent. */
int entry_set_xattrs_at(int parent, const char *name, const LayerXattr *xattrs, size_t count, Fault *fault);
