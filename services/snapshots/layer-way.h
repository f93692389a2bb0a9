/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A way from one directory of a layer to another, on which symbolic links are followed by what they say,
 * with the tree's root for "/" and no way above it. No system call follows any: who walks looks at each
 * part. */

#include <limits.h>

#include "lib/fault.h"
#include "lib/limits.h"
#include "services/snapshots/directory-tree.h"

typedef struct LayerWay {
        const char *entry;   /* whose way it is, for sentences; borrowed */
        DirectoryNode *node; /* where it has come to; who walks goes on from there */
        char component[NAME_MAX + 1];
        char rest[2 * (LIMIT_PATH_LENGTH + 1)]; /* of the path, and of what its links say */
        size_t at;                              /* in rest */
        unsigned links;
} LayerWay;

/* What the first length bytes of path say, from a directory on that way. */
void layer_way_begin(LayerWay *way, DirectoryNode *from, const char *path, size_t length, const char *entry);

/* 1 and the next part in component, 0 at the end. -EBADMSG: it goes up from a directory that only lies on
 * the way. A parent may have a link there, and what is above it then is not known before the layer is put on
 * it.
 */
int layer_way_next(LayerWay *way, Fault *fault);

/* The part is a link that says this. -EBADMSG: there are too many, or they are too long. */
int layer_way_insert(LayerWay *way, const char *target, Fault *fault);
/* What that costs, in parts of paths. */
uint64_t layer_way_work(const LayerWay *way, size_t target_length);
