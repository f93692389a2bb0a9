/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a whole tree holds together with its parent (snapshots of btrfs, files with shared extents), or twice
 * itself: the disk has that once. Compared are places on the disk, as it does not count that others share
 * them, too: a tree that is just being committed is there twice. */

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "lib/macros.h"
#include "services/snapshots/tree-scan.h"

#define SHARED_DEPTH_MAX 200 /* deeper, files are compared with none of the parent's by their names */

typedef struct DiskRange {
        uint64_t begin, end;
} DiskRange;

typedef struct DiskRanges {
        DiskRange *items;
        size_t count, allocated;
        uint64_t sum; /* of all that were added */
        bool full;    /* no more are */
} DiskRanges;

typedef struct SharedExtents {
        bool possible;
        int parent; /* trees/NUMBER of the parent; -EBADF: there is none */
        bool subvolumes;
        int levels[SHARED_DEPTH_MAX]; /* directories of the parent, by the side of those of a scan */
        size_t level_count;
        char entered[NAME_MAX + 1]; /* the last directory that was met */
        DiskRanges ranges;
} SharedExtents;

/* parent_id: 0: none. tree: trees/ID. */
void shared_extents_init(SharedExtents *shared, int trees, int tree, int64_t parent_id);
void shared_extents_done(SharedExtents *shared);

/* To be called for each entry of a scan of tree. 1 all of it is the parent's, 0 not; what it shares is
 * noted. */
int shared_extents_visit(SharedExtents *shared, const TreeScan *scan, const char *name,
                         const struct stat *st);
/* How many bytes of what is no parent's as a whole are in the parent, or there once more. */
int shared_extents_count(SharedExtents *shared, uint64_t *ret);
