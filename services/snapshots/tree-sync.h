/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a worker writes to the disk, and whether the disk took it. The kernel tells once that something could
 * not be written, and not what that was: whoever is told has to pass it on, whatever else goes wrong. */

#include <stdbool.h>

/* fsync(2). */
int tree_sync_file(int fd);
/* syncfs(2). */
int tree_sync_disk(int fd);
/* For what syncs among other things: notes r if it says that the disk failed. Returns r. */
int tree_sync_note(int r);

/* One of them was told of something that this process need not have written itself. */
bool tree_sync_has_failed(void);
