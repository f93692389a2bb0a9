/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* An opaque root: nothing of the layers below shows in the whole tree. overlayfs does not look at that mark
 * on a layer's own root, so it is said of each name there. */

/* root: the tree's; below: what lies under it, seen as one; -EBADF: nothing. What was hidden for something
 * else that lay there is not any more. */
int tree_hide(int root, int below);
