/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Unpacks one layer below a directory: three threads decompress, hash the uncompressed archive, and write
 * the tree, all at once. */

#include <stdatomic.h>
#include <stdint.h>

#include "lib/digest.h"
#include "lib/fault.h"
#include "services/snapshots/decompress.h"

typedef struct LayerUnpack {
        int layer; /* file, pipe or socket */
        int root;  /* an empty directory */
        int notes; /* what a merge with other layers must know (directory-table.h); or -EBADF */
        Compression compression;
        DigestAlgorithm algorithm;
        uint64_t size_max;    /* of the uncompressed archive; 0: LIMIT_LAYER_SIZE */
        uint64_t entries_max; /* 0: LIMIT_LAYER_ENTRIES */
        int stall_seconds;    /* a stream that is silent for so long has failed; 0: waits for ever */

        /* After each chunk, on a thread of its own, with the bytes of the layer that were read. May be NULL.
         */
        void (*on_progress)(uint64_t bytes, void *userdata);
        void *userdata;
} LayerUnpack;

typedef struct LayerResult {
        Digest diff_id;
        uint64_t size; /* bytes of file contents */
        uint64_t entries;
} LayerResult;

/* -EBADMSG (damaged or hostile), -EDQUOT (a limit), -ENOSPC, -ETIMEDOUT, all with a sentence. What was
 * written until then is left to the caller. */
int layer_unpack(const LayerUnpack *unpack, LayerResult *ret, Fault *fault);
