/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Everything in a tree, in the order of names, however deep a hostile container made it: neither descriptors
 * nor the stack grow with the depth. */

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "lib/macros.h"

typedef struct TreeScanLevel TreeScanLevel;

typedef struct TreeScan {
        TreeScanLevel *levels;
        size_t count, allocated;
        const char *const *skip; /* names at the root that are not looked at */
        bool enter;              /* the last entry is a directory, to be gone into */
        bool tolerant;           /* what goes away meanwhile was not there */
} TreeScan;

/* skip: ends with NULL, borrowed. The descriptor of root stays the caller's. */
int tree_scan_init(TreeScan *scan, int root, const char *const *skip);
void tree_scan_done(TreeScan *scan);

typedef enum TreeScanEvent {
        TREE_SCAN_END,
        TREE_SCAN_ENTRY, /* what is in a directory follows it */
        TREE_SCAN_LEAVE, /* the directory that was entered last has no more */
} TreeScanEvent;

/* Or negative. The name and tree_scan_directory() are valid until the next call. */
int tree_scan_next(TreeScan *scan, const char **ret_name, struct stat *ret);
/* The directory that the entry is in. */
int tree_scan_directory(const TreeScan *scan);
/* The last entry is not gone into. */
void tree_scan_pass_over(TreeScan *scan);
/* After TREE_SCAN_LEAVE: the name of the directory that was left. */
const char *tree_scan_left(const TreeScan *scan);
/* Where the last entry is, for a sentence; cut off at the beginning if it is too long. */
void tree_scan_path(const TreeScan *scan, const char *name, char *buffer, size_t size);
