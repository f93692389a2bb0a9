/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Where a layer's archive goes: to a thread of its own that hashes it, compresses it, hashes that, and
 * writes it to a pipe, while the next part is gathered. */

#include <stdbool.h>
#include <stdint.h>

#include "lib/digest.h"
#include "lib/fault.h"
#include "lib/macros.h"
#include "lib/media-type.h"
#include "services/snapshots/tar-writer.h"

typedef struct DiffOutput DiffOutput;

typedef struct DiffOutputSpec {
        int fd; /* a pipe, non-blocking; borrowed */
        Compression compression;
        int level;
        bool reproducible;
        int stall_seconds;                   /* as long as nobody reads */
        void (*on_progress)(uint64_t bytes); /* of the stream; called by the thread */
} DiffOutputSpec;

typedef struct DiffResult {
        Digest diff_id; /* of the archive */
        Digest digest;  /* of the stream */
        uint64_t size;  /* likewise */
} DiffResult;

int diff_output_new(const DiffOutputSpec *spec, DiffOutput **ret, Fault *fault);
/* Ends the thread, if that has not been done yet. */
DiffOutput *diff_output_free(DiffOutput *output);
DEFINE_CLEANUP(DiffOutput *, diff_output_free);

/* Fails when the thread has failed. */
TarSink diff_output_sink(DiffOutput *output);
/* Why that was so; 0: it has not failed. */
int diff_output_check(DiffOutput *output, Fault *fault);
/* Waits until all is written. */
int diff_output_finish(DiffOutput *output, DiffResult *ret, Fault *fault);
