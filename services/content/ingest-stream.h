/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Takes a stream to its end: reads the pipe, writes the file, hashes; listens to the daemon meanwhile. */

#include "services/content/ingest-protocol.h"

typedef struct IngestStreamSpec {
        int control; /* FINISH comes in, PROGRESS goes out */
        int stream;
        int data;
        int checkpoint;
        int directory;
        const IngestMessage *start;
} IngestStreamSpec;

/* Fills in what ENDED says. The checkpoint and the bytes agree afterwards, whatever happened. */
void ingest_stream_run(const IngestStreamSpec *spec, IngestMessage *ret_ended);
