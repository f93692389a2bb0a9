/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a layer has below a symbolic link of its parent ("lib/x", where lib is a link to usr/lib) goes to
 * where the link leads, as if the layer had been unpacked on top of it: never out of the tree, because the
 * way is gone textually, with the tree's own root for "/". A directory that the layer describes takes the
 * link's place instead: nothing below it comes from the parent. */

#include <stdbool.h>
#include <stdint.h>

#include "lib/fault.h"

/* In the tree's directory: the number of the parent it was begun on, and a directory that gets its
 * attributes before its place. */
#define TREE_THROUGH_BEGUN "through"
#define TREE_THROUGH_MADE "made"

typedef struct TreeThrough {
        int tree; /* the directory that the layer's files are in, "fs" */
        int files;
        int parent;     /* merged, to be read */
        uint64_t *work; /* that may still be done; counted down */
        /* The layer has this directory only as part of other paths, and nothing is hidden by it. */
        int (*is_implied)(void *userdata, const char *path);
        void *userdata;
} TreeThrough;

/* The directory of the layer gets the attributes of the parent's that it stands for. 1: the parent has a
 * symbolic link in its place. */
int tree_through_prepare(const TreeThrough *through, const char *path, Fault *fault);
/* What was moved for one parent is wrong for another. To be noted before the first move, in the tree's
 * directory. */
int tree_through_begin(int tree, int64_t parent_id, Fault *fault);
/* Puts in order what was killed in the middle. -EBUSY: it was begun on another. */
int tree_through_resume(int tree, int64_t parent_id, Fault *fault);
/* Moves what is in that directory to where the link leads; it is gone then. -EBADMSG with a sentence: the
 * layer has the same there already, or what is no directory. */
int tree_through_move(const TreeThrough *through, const char *path, Fault *fault);
