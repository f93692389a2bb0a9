/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/content/ingest-hasher.h"

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>

#define BUFFERS 4
/* What is sent and hashed once more at worst, when all of this is killed. */
#define CHECKPOINT_INTERVAL (UINT64_C(8) * HASHER_BUFFER_SIZE)

struct Hasher {
        pthread_mutex_t lock;
        pthread_cond_t changed;
        pthread_t thread;
        bool running;
        bool stopping;
        uint8_t *memory;
        size_t sizes[BUFFERS];
        uint64_t pushed; /* buffers so far; pushed % BUFFERS is the next to be filled */
        uint64_t hashed;
        int error; /* of a checkpoint */

        /* of the thread while it runs */
        IngestCheckpoint checkpoint;
        uint64_t written; /* bytes that the last checkpoint on disk speaks of */
        int fd;
};

static int checkpoint_write(Hasher *hasher) {
        int r = ingest_checkpoint_write(hasher->fd, &hasher->checkpoint);
        if (r >= 0)
                hasher->written = hasher->checkpoint.state.bytes;
        return r;
}

static int hash_buffer(Hasher *hasher, uint64_t index, bool last) {
        const uint8_t *buffer = hasher->memory + index % BUFFERS * HASHER_BUFFER_SIZE;
        DigestState *state = &hasher->checkpoint.state;
        digest_state_update(state, buffer, hasher->sizes[index % BUFFERS]);
        return last || state->bytes - hasher->written >= CHECKPOINT_INTERVAL ? checkpoint_write(hasher) : 0;
}

static void *hasher_main(void *userdata) {
        Hasher *hasher = userdata;
        (void) pthread_mutex_lock(&hasher->lock);
        for (;;) {
                while (hasher->hashed == hasher->pushed && !hasher->stopping)
                        (void) pthread_cond_wait(&hasher->changed, &hasher->lock);
                if (hasher->hashed == hasher->pushed)
                        break;
                uint64_t index = hasher->hashed;
                bool last = hasher->pushed == index + 1;
                (void) pthread_mutex_unlock(&hasher->lock);
                int r = hash_buffer(hasher, index, last);
                (void) pthread_mutex_lock(&hasher->lock);
                if (r < 0 && hasher->error >= 0)
                        hasher->error = r;
                hasher->hashed++;
                (void) pthread_cond_signal(&hasher->changed);
        }
        (void) pthread_mutex_unlock(&hasher->lock);
        return NULL;
}

int hasher_new(const IngestCheckpoint *checkpoint, int fd, Hasher **ret) {
        Hasher *hasher = new0(Hasher, 1);
        if (!hasher)
                return -ENOMEM;
        hasher->checkpoint = *checkpoint;
        hasher->checkpoint.complete = 0;
        hasher->written = checkpoint->state.bytes;
        hasher->fd = fd;
        hasher->memory = mmap(NULL, (size_t) BUFFERS * HASHER_BUFFER_SIZE, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (hasher->memory == MAP_FAILED) {
                free(hasher);
                return -ENOMEM;
        }
        (void) pthread_mutex_init(&hasher->lock, NULL);
        (void) pthread_cond_init(&hasher->changed, NULL);
        *ret = hasher;
        return 0;
}

static void hasher_stop(Hasher *hasher) {
        if (!hasher->running)
                return;
        (void) pthread_mutex_lock(&hasher->lock);
        hasher->stopping = true;
        (void) pthread_cond_signal(&hasher->changed);
        (void) pthread_mutex_unlock(&hasher->lock);
        (void) pthread_join(hasher->thread, NULL);
        hasher->running = hasher->stopping = false;
}

Hasher *hasher_free(Hasher *hasher) {
        if (!hasher)
                return NULL;
        hasher_stop(hasher);
        (void) pthread_mutex_destroy(&hasher->lock);
        (void) pthread_cond_destroy(&hasher->changed);
        (void) munmap(hasher->memory, (size_t) BUFFERS * HASHER_BUFFER_SIZE);
        free(hasher);
        return NULL;
}

int hasher_get_buffer(Hasher *hasher, uint8_t **ret) {
        (void) pthread_mutex_lock(&hasher->lock);
        while (hasher->pushed - hasher->hashed == BUFFERS)
                (void) pthread_cond_wait(&hasher->changed, &hasher->lock);
        int r = hasher->error;
        (void) pthread_mutex_unlock(&hasher->lock);
        if (r < 0)
                return r;
        *ret = hasher->memory + hasher->pushed % BUFFERS * HASHER_BUFFER_SIZE;
        return 0;
}

int hasher_push(Hasher *hasher, size_t size) {
        assert(size <= HASHER_BUFFER_SIZE);
        uint64_t index = hasher->pushed;
        hasher->sizes[index % BUFFERS] = size;

        /* A manifest or a slow stream is not worth a thread. */
        if (!hasher->running && size < HASHER_BUFFER_SIZE) {
                hasher->pushed++;
                hasher->hashed++;
                return hash_buffer(hasher, index, /* last= */ true);
        }
        (void) pthread_mutex_lock(&hasher->lock);
        hasher->pushed++;
        (void) pthread_cond_signal(&hasher->changed);
        (void) pthread_mutex_unlock(&hasher->lock);
        if (hasher->running)
                return 0;
        hasher->running = true;
        int r = -pthread_create(&hasher->thread, NULL, hasher_main, hasher);
        if (r < 0)
                hasher->running = false;
        return r;
}

int hasher_drain(Hasher *hasher, bool complete, IngestCheckpoint *ret) {
        hasher_stop(hasher);
        if (hasher->error < 0)
                return hasher->error;
        hasher->checkpoint.complete = complete;
        int r = checkpoint_write(hasher);
        if (r < 0)
                return r;
        *ret = hasher->checkpoint;
        return 0;
}
