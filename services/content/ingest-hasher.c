/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/content/ingest-hasher.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>

/* The file is seen through a window that moves: taking a mapping away interrupts every thread. */
#define WINDOW (UINT64_C(16) * 1024 * 1024)
/* How far the hash may be behind: more would be out of the processor's cache. */
#define BEHIND (UINT64_C(4) * HASHER_PIECE)
/* What is sent and hashed once more at worst, when all of this is killed. */
#define CHECKPOINT_INTERVAL (UINT64_C(8) * HASHER_PIECE)

struct Hasher {
        pthread_mutex_t lock;
        pthread_cond_t changed;
        pthread_t thread;
        bool running;
        bool stopping;
        uint64_t pushed; /* bytes in the file */
        uint64_t hashed;
        int error; /* the first one of the thread */

        /* of the thread while it runs */
        IngestCheckpoint checkpoint;
        uint64_t saved; /* bytes that the checkpoint on disk speaks of */
        int checkpoint_fd;
        int data_fd;
        Syncer *syncer; /* weak */
        uint8_t *window;
        uint64_t window_offset;
};

static int checkpoint_save(Hasher *hasher) {
        int r = ingest_checkpoint_write(hasher->checkpoint_fd, &hasher->checkpoint);
        if (r < 0)
                return r;
        hasher->saved = hasher->checkpoint.state.bytes;
        return syncer_offer(hasher->syncer, &hasher->checkpoint);
}

static void window_close(Hasher *hasher) {
        if (hasher->window)
                (void) munmap(hasher->window, WINDOW);
        hasher->window = NULL;
}

/* The mapping reaches beyond the end of the file; nobody looks there before it is written. */
static int window_move(Hasher *hasher, uint64_t offset) {
        if (hasher->window && hasher->window_offset == offset)
                return 0;
        window_close(hasher);
        void *window = mmap(NULL, WINDOW, PROT_READ, MAP_SHARED, hasher->data_fd, (off_t) offset);
        if (window == MAP_FAILED)
                return -errno;
        hasher->window = window;
        hasher->window_offset = offset;
        return 0;
}

static int hash_piece(Hasher *hasher, size_t size) {
        DigestState *state = &hasher->checkpoint.state;
        uint64_t page = state->bytes % 4096, start = state->bytes % WINDOW;
        int r = window_move(hasher, state->bytes - start);
        if (r < 0)
                return r;
        /* At once instead of fault by fault; and what can't be read from the disk is an error here, while a
         * fault would be a signal (SIGBUS). */
        if (madvise(hasher->window + start - page, size + page, MADV_POPULATE_READ) < 0 &&
            (errno == EFAULT || errno == EHWPOISON))
                return -EIO;
        digest_state_update(state, hasher->window + start, size);
        return 0;
}

static int hash_up_to(Hasher *hasher, uint64_t end) {
        DigestState *state = &hasher->checkpoint.state;
        while (state->bytes < end) {
                uint64_t left = MIN_OF(end - state->bytes, WINDOW - state->bytes % WINDOW);
                int r = hash_piece(hasher, (size_t) MIN_OF(left, HASHER_PIECE));
                if (r < 0)
                        return r;
        }
        return 0;
}

/* The disk begins while more is coming, so that the sync at the end has less to wait for. */
static void write_back(Hasher *hasher, uint64_t start, uint64_t end) {
        (void) sync_file_range(hasher->data_fd, (off_t) start, (off_t) (end - start), SYNC_FILE_RANGE_WRITE);
}

static void *hasher_main(void *userdata) {
        Hasher *hasher = userdata;
        (void) pthread_mutex_lock(&hasher->lock);
        for (;;) {
                while (hasher->hashed == hasher->pushed && !hasher->stopping)
                        (void) pthread_cond_wait(&hasher->changed, &hasher->lock);
                if (hasher->hashed == hasher->pushed || hasher->error < 0)
                        break;
                uint64_t end = MIN_OF(hasher->pushed, hasher->hashed + HASHER_PIECE);
                bool idle = end == hasher->pushed;
                (void) pthread_mutex_unlock(&hasher->lock);
                int r = hash_up_to(hasher, end);
                bool due = end - hasher->saved >= CHECKPOINT_INTERVAL;
                if (r >= 0 && due)
                        write_back(hasher, hasher->saved, end);
                if (r >= 0 && (idle || due))
                        r = checkpoint_save(hasher);
                (void) pthread_mutex_lock(&hasher->lock);
                hasher->error = r;
                hasher->hashed = end;
                (void) pthread_cond_signal(&hasher->changed);
        }
        (void) pthread_mutex_unlock(&hasher->lock);
        return NULL;
}

int hasher_new(const IngestCheckpoint *checkpoint, int checkpoint_fd, int data_fd, Syncer *syncer,
               Hasher **ret) {
        Hasher *hasher = new0(Hasher, 1);
        if (!hasher)
                return -ENOMEM;
        hasher->checkpoint = *checkpoint;
        hasher->checkpoint.complete = 0;
        hasher->pushed = hasher->hashed = hasher->saved = checkpoint->state.bytes;
        hasher->checkpoint_fd = checkpoint_fd;
        hasher->data_fd = data_fd;
        hasher->syncer = syncer;
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
        window_close(hasher);
        (void) pthread_mutex_destroy(&hasher->lock);
        (void) pthread_cond_destroy(&hasher->changed);
        free(hasher);
        return NULL;
}

/* A manifest or a slow stream is not worth a thread. */
static int hash_here(Hasher *hasher) {
        int r = hash_up_to(hasher, hasher->pushed);
        if (r < 0)
                return r;
        hasher->hashed = hasher->pushed;
        return checkpoint_save(hasher);
}

int hasher_push(Hasher *hasher, size_t size) {
        if (!hasher->running && size < HASHER_PIECE) {
                hasher->pushed += size;
                return hash_here(hasher);
        }
        (void) pthread_mutex_lock(&hasher->lock);
        hasher->pushed += size;
        (void) pthread_cond_signal(&hasher->changed);
        while (hasher->running && hasher->pushed - hasher->hashed > BEHIND && hasher->error >= 0)
                (void) pthread_cond_wait(&hasher->changed, &hasher->lock);
        int r = hasher->error;
        (void) pthread_mutex_unlock(&hasher->lock);
        if (r < 0 || hasher->running)
                return r;
        hasher->running = true;
        r = -pthread_create(&hasher->thread, NULL, hasher_main, hasher);
        if (r < 0)
                hasher->running = false;
        return r;
}

int hasher_drain(Hasher *hasher, bool complete, IngestCheckpoint *ret) {
        hasher_stop(hasher);
        if (hasher->error < 0)
                return hasher->error;
        hasher->checkpoint.complete = complete;
        int r = checkpoint_save(hasher);
        if (r < 0)
                return r;
        *ret = hasher->checkpoint;
        return 0;
}
