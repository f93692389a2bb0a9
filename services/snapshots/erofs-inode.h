/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What an EROFS image is made from: the inodes of a tree, in an order that only depends on their names. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "lib/fault.h"
#include "services/snapshots/erofs-chunks.h"

#define EROFS_BLOCK 4096
#define EROFS_BLOCKS(size) (((uint64_t) (size) + EROFS_BLOCK - 1) / EROFS_BLOCK)

typedef struct ErofsInode {
        char *name;
        size_t parent;      /* an index, as are the next three */
        size_t first_child; /* of a directory: they are together */
        size_t child_count;
        size_t same_as; /* another name of that inode; itself: the first */
        mode_t mode;
        uid_t uid;
        gid_t gid;
        uint32_t link_count;
        dev_t device; /* if it is one */
        uint64_t size;
        struct timespec changed;
        char *link;      /* the target of a symbolic link */
        uint8_t *xattrs; /* as they are in the image */
        size_t xattr_size;
        uint64_t block;      /* where its contents begin */
        ErofsChunks *chunks; /* if it has holes: where they are instead */
        uint64_t offset;     /* where it is in the area of inodes */
} ErofsInode;

typedef struct ErofsTree {
        ErofsInode *inodes; /* the first is the root */
        size_t count;
        size_t allocated;
        uint64_t blocks; /* of the image that are taken */
        int image;
} ErofsTree;

/* Reads the tree below root. The contents of files are written to image, a block for each at least, behind
 * what is taken of it. */
int erofs_tree_read(ErofsTree *tree, int root, int image, Fault *fault);
void erofs_tree_done(ErofsTree *tree);
