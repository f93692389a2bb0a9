/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the drivers whose trees hold everything have in common. What was made without a parent, unpacked or
 * written, is applied to a clone of the one it gets, which then takes its place; and what somebody may still
 * write to is replaced by a clone of itself (tree-stage.h). Killed at any point, doing it again leads to the
 * same. */

#include <stdbool.h>

#include "lib/fault.h"
#include "services/snapshots/snapshot-driver.h"

typedef struct WholeTree {
        /* Makes the directory name in tree, with everything that is in from (-EBADF: nothing). */
        int (*clone)(int from, int tree, const char *name, Fault *fault);
        bool link; /* a file can be in both trees by a link */
} WholeTree;

int whole_tree_fill(const WholeTree *whole, const SnapshotFinish *finish, Fault *fault);
int whole_tree_finish(const WholeTree *whole, const SnapshotFinish *finish, Fault *fault);
