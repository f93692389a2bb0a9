/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/chunk-ring.h"

#include <errno.h>
#include <pthread.h>

struct ChunkRing {
        pthread_mutex_t mutex;
        pthread_cond_t changed;
        bool aborted;
        unsigned consumer_count;
        uint64_t produced;                      /* chunks published so far */
        uint64_t consumed[CHUNK_CONSUMERS_MAX]; /* chunks that this consumer is through with */
        bool holds[CHUNK_CONSUMERS_MAX];        /* the consumer looks at chunk number consumed[i] */
        size_t sizes[CHUNK_COUNT];
        uint8_t *chunks[CHUNK_COUNT];
};

int chunk_ring_new(unsigned consumers, ChunkRing **ret) {
        assert(consumers > 0 && consumers <= CHUNK_CONSUMERS_MAX);
        _cleanup_(chunk_ring_freep) ChunkRing *ring = new0(ChunkRing, 1);
        if (!ring)
                return -ENOMEM;
        (void) pthread_mutex_init(&ring->mutex, NULL);
        (void) pthread_cond_init(&ring->changed, NULL);
        ring->consumer_count = consumers;
        for (unsigned i = 0; i < CHUNK_COUNT; i++) {
                ring->chunks[i] = malloc(CHUNK_SIZE);
                if (!ring->chunks[i])
                        return -ENOMEM;
        }
        *ret = TAKE_PTR(ring);
        return 0;
}

ChunkRing *chunk_ring_free(ChunkRing *ring) {
        if (!ring)
                return NULL;
        for (unsigned i = 0; i < CHUNK_COUNT; i++)
                free(ring->chunks[i]);
        (void) pthread_cond_destroy(&ring->changed);
        (void) pthread_mutex_destroy(&ring->mutex);
        return mfree(ring);
}

static bool ring_is_full(const ChunkRing *ring) {
        for (unsigned i = 0; i < ring->consumer_count; i++)
                if (ring->produced - ring->consumed[i] >= CHUNK_COUNT)
                        return true;
        return false;
}

uint8_t *chunk_ring_reserve(ChunkRing *ring) {
        uint8_t *chunk = NULL;
        (void) pthread_mutex_lock(&ring->mutex);
        while (!ring->aborted && ring_is_full(ring))
                (void) pthread_cond_wait(&ring->changed, &ring->mutex);
        if (!ring->aborted)
                chunk = ring->chunks[ring->produced % CHUNK_COUNT];
        (void) pthread_mutex_unlock(&ring->mutex);
        return chunk;
}

void chunk_ring_publish(ChunkRing *ring, size_t size) {
        (void) pthread_mutex_lock(&ring->mutex);
        ring->sizes[ring->produced % CHUNK_COUNT] = size;
        ring->produced++;
        (void) pthread_cond_broadcast(&ring->changed);
        (void) pthread_mutex_unlock(&ring->mutex);
}

bool chunk_ring_next(ChunkRing *ring, unsigned consumer, const uint8_t **ret_data, size_t *ret_size) {
        (void) pthread_mutex_lock(&ring->mutex);
        uint64_t current = ring->consumed[consumer];
        if (ring->holds[consumer] && ring->sizes[current % CHUNK_COUNT] > 0) {
                ring->consumed[consumer] = ++current;
                ring->holds[consumer] = false;
                (void) pthread_cond_broadcast(&ring->changed);
        }
        while (!ring->aborted && ring->produced <= current)
                (void) pthread_cond_wait(&ring->changed, &ring->mutex);
        bool good = !ring->aborted;
        if (good) {
                ring->holds[consumer] = true;
                *ret_data = ring->chunks[current % CHUNK_COUNT];
                *ret_size = ring->sizes[current % CHUNK_COUNT];
        }
        (void) pthread_mutex_unlock(&ring->mutex);
        return good;
}

void chunk_ring_abort(ChunkRing *ring) {
        (void) pthread_mutex_lock(&ring->mutex);
        ring->aborted = true;
        (void) pthread_cond_broadcast(&ring->changed);
        (void) pthread_mutex_unlock(&ring->mutex);
}
