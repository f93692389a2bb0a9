/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Which parts of a file hold something but zeros. The answer depends on nothing but the contents: file
 * systems differ in which zeros they keep as holes, and some know none. */

#include <stdbool.h>

#include "services/snapshots/tar-writer.h"

typedef struct FileExtents {
        TarExtent *items;
        size_t count, allocated;
        uint64_t gap; /* fewer zeros are no hole */
        char *data;
} FileExtents;

/* 1 it is worth to tell it as a sparse file: the items are in order, the last one ends where the file does,
 * and may be empty. 0 not. look: also into a file of which the file system says that it has no holes. */
int file_extents_find(FileExtents *extents, int fd, uint64_t size, bool look);
void file_extents_done(FileExtents *extents);
