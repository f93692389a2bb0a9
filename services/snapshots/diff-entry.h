/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One file of a tree as an entry of a layer's archive: attributes, contents, holes, and the links to what is
 * in the layer already. */

#include "lib/fault.h"
#include "services/snapshots/file-compare.h"
#include "services/snapshots/inode-table.h"
#include "services/snapshots/tar-writer.h"

typedef struct DiffEntries {
        TarWriter writer;
        bool clamp;
        int64_t epoch;
        InodeTable links; /* files of more than one name that were met */
        FileXattrs xattrs;
        TarExtent *extents;
        size_t extent_count, extents_allocated;
        char *data;
} DiffEntries;

/* Something that is new or changed. */
int diff_entry_write(DiffEntries *entries, const FilePlace *place, const char *path, Fault *fault);
/* Something that is as it was: it goes into the layer only if another name of the same file does. */
int diff_entry_pass(DiffEntries *entries, const FilePlace *place, const char *path, Fault *fault);
/* Nothing of that name is there any more. path: of the directory, "" the root. */
int diff_entry_whiteout(DiffEntries *entries, const char *path, const char *name, Fault *fault);
void diff_entries_done(DiffEntries *entries);
