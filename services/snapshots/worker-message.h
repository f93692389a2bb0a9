/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the workers of Snapshots tell their daemon. */

#include <stdint.h>

#include "lib/fault.h"

typedef enum WorkerMessageType {
        WORKER_PROGRESS,    /* bytes of the layer that were read */
        WORKER_MEASURED,    /* a tree's SnapshotMeasure: "NUMBER SIZE INODES MANIFEST" */
        WORKER_DONE,        /* diff_id and bytes of the tree, where that means something */
        WORKER_FAILED,      /* error and text */
        WORKER_DISK_FAILED, /* likewise: what anybody has written may be lost */
        _WORKER_MESSAGE_TYPE_MAX,
        _WORKER_MESSAGE_TYPE_INVALID = -22,
} WorkerMessageType;

typedef struct WorkerMessage {
        uint32_t type;
        int32_t error;
        uint64_t bytes;
        char text[1024]; /* a sentence, or the DiffID */
} WorkerMessage;

/* For a worker: sends on descriptor 3. */
int worker_message_send(WorkerMessageType type, int error, uint64_t bytes, const char *text);

/* For the daemon, which trusts no worker that has handled foreign bytes: checks, and makes the text
 * printable ASCII. -EBADMSG. */
int worker_message_read(const void *data, size_t size, WorkerMessage *ret);
