/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A layer (OCI image-spec, layer.md) that makes one tree out of another: both are gone through side by side,
 * in the order of names, and what differs is written into an archive. The same trees give the same bytes. */

#include "lib/fault.h"
#include "services/snapshots/tar-writer.h"

typedef struct TreeDiffSpec {
        int old; /* root; -EBADF: an empty tree */
        int new;
        int upper; /* the root of a layered tree that all changes lie in, so that the rest need not be looked
                      at; -EBADF: it is not known */
        bool same_inodes; /* see file-compare.h */
        bool clamp;       /* no time is later than epoch */
        int64_t epoch;    /* seconds since 1970 */
        TarSink sink;
} TreeDiffSpec;

/* -EBADMSG with a sentence: something in the tree can't be said by a layer. */
int tree_diff(const TreeDiffSpec *spec, Fault *fault);
