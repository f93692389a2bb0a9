/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a committed tree consists of, noted beside it when it is committed: each file with its attributes and
 * a checksum of its contents. By that damage is found later: what the power cut off, what a disk forgot.
 * (Not what somebody changed who could change the manifest as well.) */

#include "lib/digest.h"
#include "lib/fault.h"
#include "services/snapshots/snapshot-record.h"
#include "services/snapshots/tree-argument.h"

/* A tree below trees: measures what it takes in addition to its parent, and writes trees/NUMBER/manifest;
 * not synced. */
int tree_manifest_make(int trees, const TreeArgument *tree, SnapshotMeasure *ret, Fault *fault);
/* Only the measure, without a manifest; the tree may be in use. */
int tree_measure(int trees, const TreeArgument *tree, SnapshotMeasure *ret, Fault *fault);
