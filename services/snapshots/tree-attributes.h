/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Attributes of directories in trees: in an overlay, owner, mode, times and extended attributes of a merged
 * directory are those of the topmost layer that has it. Copied they are like those of files (file-copy.h).
 */

#include <stdbool.h>
#include <time.h>

/* As a directory is that nobody described: root's, 0755, of that time, without extended attributes
 * (overlayfs' own stay). */
int tree_reset_attributes(int directory, struct timespec time);

/* trusted.overlay.opaque: nothing of the layers below shows in this directory. */
int tree_set_opaque(int directory);
bool tree_is_opaque(int directory);
int tree_unset_opaque(int directory);
