/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Writes the entries of a layer's archive as a tree below one directory, in the form that overlayfs wants
 * for a layer: hidden names are character devices 0:0. Nothing outside is touched: every path
 * leads through directories that this writer has made itself, and everything is made anew. Symbolic links
 * are followed by what they say, with the tree's root for "/" and no way above it; no system call does. */

#include "lib/fault.h"
#include "lib/macros.h"
#include "services/snapshots/directory-tree.h"
#include "services/snapshots/layer-archive.h"
#include "services/snapshots/layer-rules.h"

typedef struct LayerWriter {
        int root;              /* borrowed */
        LayerArchive *archive; /* weak */
        DirectoryTree *tree;
        LayerRules rules;
        uint64_t entries;   /* seen, and made on the way */
        uint64_t bytes;     /* of file contents, with holes */
        uint64_t unchecked; /* bytes and entries that were made since the space that is left was looked at */
} LayerWriter;

/* umask must be 0. */
int layer_writer_init(LayerWriter *writer, int root, LayerArchive *archive, const LayerRules *rules);
void layer_writer_done(LayerWriter *writer);

/* All entries up to the end of the archive, then what is left to be done to the directories; notes as for
 * directory_finish(). */
int layer_writer_run(LayerWriter *writer, int notes, Fault *fault);

/* One archive, to the end of its stream. */
int layer_writer_unpack(int root, LayerSource source, const LayerRules *rules, int notes, uint64_t *ret_size,
                        Fault *fault);
