/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Unpacks one layer below a directory. Three processes do it at once, and none can do another one's work:
 *
 *   decompress   the layer's bytes → the archive's bytes    reads foreign bytes, has no file but the layer
 *   relay        hashes them and passes them on             interprets nothing, and says what the DiffID is
 *   write        the archive's bytes → files                reads foreign bytes, has no file but the tree
 *
 * So whoever takes over a decompressor or the parser with a prepared layer can make a strange tree of it,
 * but can't have that committed under the DiffID of another layer, which other images have too: what is
 * written was written from bytes that the relay has hashed, each of them once, after nobody could change
 * them. */

#include <errno.h>
#include <stdint.h>

#include "lib/digest.h"
#include "lib/fault.h"
#include "services/snapshots/decompress.h"
#include "services/snapshots/layer-writer.h"

typedef enum LayerPart {
        LAYER_PART_DECOMPRESS,
        LAYER_PART_RELAY,
        LAYER_PART_WRITE,
        _LAYER_PART_MAX,
        _LAYER_PART_INVALID = -EINVAL,
} LayerPart;

/* The time that a layer may take; zeros: for ever. */
typedef struct LayerPace {
        int stall_seconds;     /* a stream that is silent for so long has failed */
        int window_seconds;    /* in so much waiting for the stream … */
        uint64_t window_bytes; /* … this much at least must arrive */
        int deadline_seconds;  /* for all of it */
} LayerPace;

typedef struct LayerUnpack {
        int layer; /* file or pipe */
        int root;  /* an empty directory */
        int notes; /* what a merge with other layers must know (directory-finish.h); or -EBADF */
        Compression compression;
        DigestAlgorithm algorithm;
        LayerRules rules;
        LayerPace pace;

        /* In each of the three, before it sees a foreign byte: gives up what it does not need. Whoever is
         * confined ends its process after layer_unpack(), however it went: the others may still run, and
         * must be in a PID namespace that ends with it. May be NULL. */
        int (*confine)(LayerPart part, Fault *fault);
        /* Now and then, with the bytes of the layer that were read. May be NULL. */
        void (*on_progress)(uint64_t bytes, void *userdata);
        void *userdata;
} LayerUnpack;

typedef struct LayerResult {
        Digest diff_id;
        uint64_t size; /* bytes of file contents */
} LayerResult;

/* -EBADMSG (damaged or hostile), -EDQUOT (a limit), -ENOSPC, -ETIMEDOUT, all with a sentence. What was
 * written until then is left to the caller. */
int layer_unpack(const LayerUnpack *unpack, LayerResult *ret, Fault *fault);
