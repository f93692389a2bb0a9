/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/layer-unpack.h"

#include <errno.h>
#include <pthread.h>
#include <sys/stat.h>

#include "lib/limits.h"
#include "services/snapshots/chunk-ring.h"
#include "services/snapshots/layer-archive.h"
#include "services/snapshots/layer-writer.h"

enum { CONSUMER_HASH, CONSUMER_TREE, CONSUMER_COUNT };

typedef struct Stage {
        pthread_t thread;
        bool started;
        const LayerUnpack *unpack;
        ChunkRing *ring;
        LayerResult *result;
        int error;
        Fault fault;
} Stage;

static int decompress_all(const LayerUnpack *unpack, ChunkRing *ring, LayerInput *input, Fault *fault) {
        Decompressor decompressor;
        uint64_t total = 0, limit = unpack->size_max > 0 ? unpack->size_max : LIMIT_LAYER_SIZE;
        int r = decompressor_init(&decompressor, unpack->compression, input, fault);
        if (r < 0)
                return r;
        for (;;) {
                uint8_t *chunk = chunk_ring_reserve(ring);
                if (!chunk) {
                        r = -ECANCELED;
                        break;
                }
                ssize_t n = decompressor_read(&decompressor, chunk, CHUNK_SIZE, fault);
                if (n >= 0 && (total += (uint64_t) n) > limit)
                        n = fault_set(fault, -EDQUOT, "The layer unpacks to more than %llu bytes",
                                      (unsigned long long) limit);
                if (n < 0) {
                        r = (int) n;
                        break;
                }
                chunk_ring_publish(ring, (size_t) n);
                if (unpack->on_progress)
                        unpack->on_progress(input->taken, unpack->userdata);
                if (n == 0)
                        break;
        }
        decompressor_done(&decompressor);
        return r;
}

static void *stage_decompress(void *userdata) {
        Stage *stage = userdata;
        LayerInput input = { 0 };
        stage->error =
                layer_input_init(&input, stage->unpack->layer, stage->unpack->stall_seconds, &stage->fault);
        if (stage->error >= 0)
                stage->error = decompress_all(stage->unpack, stage->ring, &input, &stage->fault);
        layer_input_done(&input);
        if (stage->error < 0)
                chunk_ring_abort(stage->ring);
        return NULL;
}

static void *stage_hash(void *userdata) {
        Stage *stage = userdata;
        DigestState state;
        const uint8_t *data;
        size_t size = 1;

        stage->error = digest_state_init(&state, stage->unpack->algorithm);
        while (stage->error >= 0 && size > 0) {
                if (!chunk_ring_next(stage->ring, CONSUMER_HASH, &data, &size))
                        stage->error = -ECANCELED;
                else if (size > 0)
                        digest_state_update(&state, data, size);
        }
        if (stage->error >= 0)
                digest_state_finish(&state, &stage->result->diff_id);
        else
                chunk_ring_abort(stage->ring);
        return NULL;
}

/* An archive ends before its stream does: with blocks of zeros, which belong to the digest. */
static int drain(ChunkRing *ring) {
        const uint8_t *data;
        size_t size;
        do
                if (!chunk_ring_next(ring, CONSUMER_TREE, &data, &size))
                        return -ECANCELED;
        while (size > 0);
        return 0;
}

static int write_tree(const LayerUnpack *unpack, ChunkRing *ring, LayerResult *result, Fault *fault) {
        _cleanup_(layer_archive_freep) LayerArchive *archive = NULL;
        LayerWriter writer;
        int r = layer_archive_new(ring, CONSUMER_TREE, &archive, fault);
        if (r < 0)
                return r;
        r = layer_writer_init(&writer, unpack->root, archive, unpack->entries_max);
        if (r >= 0)
                r = layer_writer_run(&writer, unpack->notes, fault);
        if (r >= 0)
                r = drain(ring);
        result->size = writer.bytes;
        result->entries = writer.entries;
        layer_writer_done(&writer);
        return r;
}

static int stage_start(Stage *stage, void *(*run)(void *) ) {
        int r = -pthread_create(&stage->thread, NULL, run, stage);
        stage->started = r >= 0;
        return r;
}

/* The stage that failed by itself says why; the others were only told to end. */
static int stages_outcome(Stage *stages, size_t count, int r, Fault *fault) {
        for (size_t i = 0; i < count; i++)
                if (stages[i].error < 0 && stages[i].error != -ECANCELED) {
                        fault_move(fault, &stages[i].fault);
                        return stages[i].error;
                }
        return r;
}

int layer_unpack(const LayerUnpack *unpack, LayerResult *ret, Fault *fault) {
        _cleanup_(chunk_ring_freep) ChunkRing *ring = NULL;
        LayerResult result = { 0 };
        int r = chunk_ring_new(CONSUMER_COUNT, &ring);
        if (r < 0)
                return fault_set_errno(fault, r, "Can't unpack the layer");

        Stage stages[] = {
                { .unpack = unpack, .ring = ring, .result = &result },
                { .unpack = unpack, .ring = ring, .result = &result },
                { .unpack = unpack, .ring = ring, .result = &result },
        };
        mode_t mask = umask(0);
        r = stage_start(&stages[0], stage_decompress);
        if (r >= 0)
                r = stage_start(&stages[1], stage_hash);
        if (r >= 0)
                stages[2].error = r = write_tree(unpack, ring, &result, &stages[2].fault);
        else
                (void) fault_set_errno(&stages[2].fault, r, "Can't start a thread");
        if (r < 0)
                chunk_ring_abort(ring);
        for (size_t i = 0; i < 2; i++)
                if (stages[i].started)
                        (void) pthread_join(stages[i].thread, NULL);
        (void) umask(mask);

        if (r < 0 && stages[2].error >= 0)
                stages[2].error = r;
        r = stages_outcome(stages, ELEMENTS_OF(stages), r, fault);
        for (size_t i = 0; i < ELEMENTS_OF(stages); i++)
                fault_done(&stages[i].fault);
        if (r >= 0)
                *ret = result;
        return r;
}
