/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the drivers whose trees are stacked by overlayfs have in common: as members of SnapshotDriver. */

#include "lib/fault.h"
#include "services/snapshots/snapshot-driver.h"

int layered_tree_probe(int trees, Fault *fault);
int layered_tree_make(int tree, int parent, Fault *fault);
int layered_tree_finish(const SnapshotFinish *finish, Fault *fault);
