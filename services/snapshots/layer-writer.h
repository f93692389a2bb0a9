/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Writes the entries of a layer's archive as a tree below one directory, in the form that overlayfs wants
 * for a layer: hidden names are character devices 0:0. Nothing is followed, nothing outside is touched:
 * every path is resolved beneath the directory without symbolic links, and everything is made anew. */

#include "lib/fault.h"
#include "lib/macros.h"
#include "services/snapshots/directory-cache.h"
#include "services/snapshots/directory-table.h"
#include "services/snapshots/layer-archive.h"

typedef struct LayerWriter {
        int root;              /* borrowed */
        LayerArchive *archive; /* weak */
        DirectoryCache directories;
        DirectoryTable *table;
        uint64_t entries; /* seen, and made on the way */
        uint64_t entries_max;
        uint64_t bytes; /* of file contents */
} LayerWriter;

/* umask must be 0. entries_max 0: LIMIT_LAYER_ENTRIES. */
int layer_writer_init(LayerWriter *writer, int root, LayerArchive *archive, uint64_t entries_max);
void layer_writer_done(LayerWriter *writer);

/* All entries, then what is left to be done to the directories; notes as for directory_table_apply(). */
int layer_writer_run(LayerWriter *writer, int notes, Fault *fault);
