/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One file of a tree as an entry of a layer's archive: attributes, contents, holes, and the links to what is
 * in the layer already. */

#include "lib/fault.h"
#include "services/snapshots/file-compare.h"
#include "services/snapshots/file-extents.h"
#include "services/snapshots/inode-table.h"
#include "services/snapshots/tar-writer.h"

typedef struct DiffEntries {
        TarWriter writer;
        bool clamp;
        int64_t epoch;
        InodeTable links;     /* files of more than one name that were met */
        InodeTable old_links; /* likewise, in the other tree */
        FileXattrs xattrs;
        FileExtents extents;
        char *data;
} DiffEntries;

/* Something that is new or changed. */
int diff_entry_write(DiffEntries *entries, const FilePlace *place, const char *path, Fault *fault);
/* 1 something that is as it was goes into the layer nevertheless: names that were one file are not any more,
 * or the other way round. 0 not. */
int diff_entry_is_regrouped(DiffEntries *entries, const FilePlace *old, const FilePlace *new,
                            const char *path);
/* Nothing of that name is there any more. path: of the directory, "" the root. */
int diff_entry_whiteout(DiffEntries *entries, const char *path, const char *name, Fault *fault);
void diff_entries_done(DiffEntries *entries);
