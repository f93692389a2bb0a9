/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Attributes of directories in trees: in an overlay, owner, mode, times and extended attributes of a merged
 * directory are those of the topmost layer that has it. */

#include <stdbool.h>

/* Owner, mode, times and extended attributes (not overlayfs' own) from one directory to another. */
int tree_copy_attributes(int from, int to);

/* trusted.overlay.opaque: nothing of the layers below shows in this directory. */
int tree_set_opaque(int directory);
bool tree_is_opaque(int directory);
