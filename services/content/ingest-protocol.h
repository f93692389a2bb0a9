/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What contentd and crt-ingest say to each other: one struct, of which each message uses a part. Both come
 * from one build.
 *
 *   contentd                       crt-ingest
 *   START ------------------------>            checkpoint, size, at_most, digest, resume
 *   FINISH (Commit was called) --->            size: do not wait for more than that
 *          <----------------------- PROGRESS   bytes, durable
 *          <----------------------- ENDED      error, bytes, durable, digest; the bytes are synced if they
 *                                              can be committed
 *   SYNC + file, directories ----->            the bytes have their place: fs-verity for the file, if it has
 *                                              that, and these directories are synced
 *          <----------------------- SYNCED     error, seal
 *
 * Descriptors of crt-ingest: 3 this socket, 4 the stream, 5 the bytes, 6 the checkpoint, 7 the directory
 * that names these two. */

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
        INGEST_FD_DIRECTORY,
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
        int32_t error; /* 0 or negative errno; of ENDED: -E2BIG more than promised, -ENODATA less, -EDQUOT
                          more than at_most */
        uint64_t bytes;
        uint64_t durable; /* bytes that outlive the machine's power */
        uint64_t size;    /* promised, or INGEST_SIZE_UNKNOWN */
        uint64_t at_most; /* whatever is promised; or INGEST_SIZE_UNKNOWN */
        int32_t seal;     /* of SYNCED: as of blob_seal() */
        uint32_t has_digest;
        Digest digest; /* promised; that of the bytes in ENDED */
        IngestResume resume;
        IngestCheckpoint checkpoint;
} IngestMessage;
