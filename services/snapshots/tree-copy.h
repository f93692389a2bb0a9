/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A tree from one directory into another, field by field, for whole trees: copied, or, if it is a layer,
 * applied. Nothing recurses, and no symbolic link is followed. */

#include <stdbool.h>

#include "lib/fault.h"

typedef struct TreeCopy {
        int from;
        int to;
        bool apply; /* from is a layer as overlayfs has it: its whiteouts remove, its opaque directories
                       replace */
        bool link;  /* nobody writes to from any more, so files may be the same in both */
} TreeCopy;

/* Attributes of the root included. -EDQUOT with a sentence: it is too deep. */
int tree_copy(const TreeCopy *copy, Fault *fault);
