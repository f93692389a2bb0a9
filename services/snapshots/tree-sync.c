/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/tree-sync.h"

#include <errno.h>
#include <unistd.h>

/* A process is one run of a worker. It is asked for when no other thread is at work any more. */
static bool has_failed;

int tree_sync_note(int r) {
        if (r == -EIO)
                has_failed = true;
        return r;
}

int tree_sync_file(int fd) {
        return tree_sync_note(fsync(fd) < 0 ? -errno : 0);
}

/* Whatever the code, ENOSPC of a disk that promises more than it has among them: something that was written
 * before is lost. */
int tree_sync_disk(int fd) {
        if (syncfs(fd) >= 0)
                return 0;
        has_failed = true;
        return -errno;
}

bool tree_sync_has_failed(void) {
        return has_failed;
}
