/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The extended attributes of a file that a layer can hold: user.*, file capabilities and POSIX ACLs. */

#include <stdbool.h>
#include <stddef.h>

#include "services/snapshots/tar-writer.h"

/* Also used again and again: what it holds is replaced. */
typedef struct FileXattrs {
        TarXattr *items; /* in the order of their names */
        size_t count, allocated;
        char *text; /* what they point into */
        size_t text_size, text_allocated;
} FileXattrs;

/* Of a name in the directory, which becomes the working directory; no link is followed. */
int file_xattrs_read(FileXattrs *xattrs, int directory, const char *name);
bool file_xattrs_equal(const FileXattrs *a, const FileXattrs *b);
void file_xattrs_done(FileXattrs *xattrs);
