/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Whether two files are the same, as far as a layer can tell: type, owner, mode, time, contents, attributes.
 */

#include <stdbool.h>
#include <sys/stat.h>

#include "services/snapshots/file-xattrs.h"

/* A name in a directory, and what stat() says about it. */
typedef struct FilePlace {
        int directory;
        const char *name;
        struct stat st;
} FilePlace;

typedef struct FileCompare {
        bool same_inodes; /* what has the same inode number and change time in both trees is one file */
        FileXattrs old_xattrs, new_xattrs;
        char *old_data, *new_data;
} FileCompare;

/* 1 the same, 0 not. Of directories only what is said of themselves. */
int file_compare(FileCompare *compare, const FilePlace *old, const FilePlace *new);
void file_compare_done(FileCompare *compare);
