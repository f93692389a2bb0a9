/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What contentd and crt-ingest say to each other: one struct, of which each message uses a part. Both come
 * from one build.
 *
 *   contentd                       crt-ingest
 *   START ------------------------>            checkpoint, size, digest, resume
 *   FINISH (Commit was called) --->            size: do not wait for more than that
 *          <----------------------- PROGRESS   bytes
 *          <----------------------- ENDED      error, bytes, digest; the bytes are synced if they can be
 * committed SYNC + directories ----------->
 *          <----------------------- SYNCED     error
 *
 * Descriptors of crt-ingest: 3 this socket, 4 the stream, 5 the bytes, 6 the checkpoint. */

#include <stdbool.h>
#include <stdint.h>

#include "lib/digest.h"
#include "services/content/ingest-checkpoint.h"

#define INGEST_PROGRAM "crt-ingest"

enum {
        INGEST_FD_CONTROL = 3,
        INGEST_FD_STREAM,
        INGEST_FD_DATA,
        INGEST_FD_CHECKPOINT,
};

typedef enum IngestMessageType {
        INGEST_START,
        INGEST_FINISH,
        INGEST_PROGRESS,
        INGEST_ENDED,
        INGEST_SYNC,
        INGEST_SYNCED,
        _INGEST_MESSAGE_MAX,
} IngestMessageType;

typedef struct IngestMessage {
        uint32_t type;
        int32_t error; /* 0 or negative errno; of ENDED: -E2BIG more than promised, -ENODATA less */
        uint64_t bytes;
        uint64_t size; /* promised, or INGEST_SIZE_UNKNOWN */
        uint32_t has_digest;
        Digest digest; /* promised; that of the bytes in ENDED */
        IngestResume resume;
        IngestCheckpoint checkpoint;
} IngestMessage;
