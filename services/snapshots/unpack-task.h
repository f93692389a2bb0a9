/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Layers that are being unpacked: each by a worker of its own, as many at once as are good for the machine;
 * the others wait. */

#include <stdbool.h>
#include <sys/types.h>

#include "lib/digest.h"
#include "services/snapshots/decompress.h"
#include "services/snapshots/layer-rules.h"
#include "services/snapshots/snapshot-manager.h"

typedef struct UnpackTask UnpackTask;
typedef struct UnpackQueue UnpackQueue;

/* limits: what a layer may be made of at the most, and is where nothing less is asked for. */
int unpack_queue_new(SnapshotManager *manager, const LayerRules *limits, UnpackQueue **ret);
const LayerRules *unpack_queue_limits(const UnpackQueue *queue);
UnpackQueue *unpack_queue_free(UnpackQueue *queue);
DEFINE_CLEANUP(UnpackQueue *, unpack_queue_free);

typedef struct UnpackSpec {
        const char *namespace;
        const char *key;
        int layer; /* borrowed */
        Compression compression;
        Digest diff_id; /* what must come out of it */
        LayerRules rules;
        uid_t uid;
        bool limited; /* somebody who must leave room for others */

        void (*on_start)(void *userdata); /* it does not wait any more */
        void (*on_progress)(uint64_t bytes, void *userdata);
        /* Once; size: bytes of file contents. -EUCLEAN: it is not what diff_id says. */
        void (*on_end)(int r, uint64_t size, const Fault *fault, void *userdata);
        void *userdata;
} UnpackSpec;

/* 0 if a layer can be unpacked into that snapshot: what unpack_task_new() would say. */
int unpack_task_check(UnpackQueue *queue, const char *namespace, const char *key, Fault *fault);
/* Negative: refused, nothing is called. The task is the queue's, valid until on_end. Nothing is called
 * before this returns. */
int unpack_task_new(UnpackQueue *queue, const UnpackSpec *spec, UnpackTask **ret, Fault *fault);
/* Ends it: on_end(-ECANCELED). */
void unpack_task_cancel(UnpackTask *task);
