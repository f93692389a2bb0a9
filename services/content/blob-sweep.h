/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* After an end that was not orderly: marks the blobs whose file is not what it was, and removes files that
 * no record names. Done in small steps, while blobs come, go and are read: what has no record is not seen by
 * anybody, and what has lost its file is noticed by whoever opens it. */

#include "services/content/content-state.h"

typedef struct BlobSweep BlobSweep;

int blob_sweep_new(ContentState *state, BlobSweep **ret);
BlobSweep *blob_sweep_free(BlobSweep *sweep);
DEFINE_CLEANUP(BlobSweep *, blob_sweep_free);

/* A few hundred blobs: 1 if there are more, 0 when all is in order. */
int blob_sweep_step(BlobSweep *sweep);
