/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/content/ingest-syncer.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

/* What is lost at worst, and sent again: what came in the last second, or the last 64 MiB if they took
 * longer, or the last five seconds. Less than one MiB is not worth it. */
#define MANY (UINT64_C(64) * 1024 * 1024)
#define MANY_MS 1000
#define SOME (UINT64_C(1) * 1024 * 1024)
#define SOME_MS 5000

struct Syncer {
        SyncerSpec spec;

        pthread_mutex_t lock;
        pthread_cond_t changed;
        pthread_t thread;
        bool running;
        bool stopping;
        bool wanted; /* next is to be made durable */
        IngestCheckpoint next;
        uint64_t begun; /* bytes of the last one that was taken up */
        int64_t begun_ms;
        uint64_t durable;
        unsigned turn;
        int error;
};

static int64_t now_ms(void) {
        struct timespec now;
        (void) clock_gettime(CLOCK_MONOTONIC, &now);
        return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int syncer_new(const SyncerSpec *spec, Syncer **ret) {
        Syncer *syncer = new0(Syncer, 1);
        if (!syncer)
                return -ENOMEM;
        syncer->spec = *spec;
        syncer->begun = spec->offset;
        syncer->begun_ms = now_ms();
        (void) pthread_mutex_init(&syncer->lock, NULL);
        (void) pthread_cond_init(&syncer->changed, NULL);
        *ret = syncer;
        return 0;
}

/* The bytes, what names them, what speaks of them: the count of those that outlive the power now. Only bytes
 * that could not be written are an error: they are lost. */
static int sync_all(const Syncer *syncer, const IngestCheckpoint *checkpoint, unsigned turn,
                    uint64_t *durable) {
        if (fdatasync(syncer->spec.data) < 0)
                return -errno;
        if ((turn > 0 || fsync(syncer->spec.directory) >= 0) &&
            ingest_checkpoint_write_durable(syncer->spec.checkpoint, checkpoint, turn) >= 0)
                *durable = checkpoint->state.bytes;
        return 0;
}

static void *syncer_main(void *userdata) {
        Syncer *syncer = userdata;
        (void) pthread_mutex_lock(&syncer->lock);
        for (;;) {
                while (!syncer->wanted && !syncer->stopping)
                        (void) pthread_cond_wait(&syncer->changed, &syncer->lock);
                if (!syncer->wanted || syncer->error < 0)
                        break;
                IngestCheckpoint checkpoint = syncer->next;
                uint64_t durable = syncer->durable;
                unsigned turn = syncer->turn++;
                (void) pthread_mutex_unlock(&syncer->lock);
                int r = sync_all(syncer, &checkpoint, turn, &durable);
                (void) pthread_mutex_lock(&syncer->lock);
                syncer->wanted = false;
                syncer->error = r;
                syncer->durable = durable;
        }
        (void) pthread_mutex_unlock(&syncer->lock);
        return NULL;
}

static bool is_due(const Syncer *syncer, uint64_t bytes) {
        uint64_t more = bytes - syncer->begun;
        int64_t elapsed = now_ms() - syncer->begun_ms;
        return !syncer->wanted &&
               ((more >= MANY && elapsed >= MANY_MS) || (more >= SOME && elapsed >= SOME_MS));
}

static int begin(Syncer *syncer, const IngestCheckpoint *checkpoint) {
        syncer->wanted = true;
        syncer->next = *checkpoint;
        syncer->begun = checkpoint->state.bytes;
        syncer->begun_ms = now_ms();
        if (syncer->running) {
                (void) pthread_cond_signal(&syncer->changed);
                return 0;
        }
        int r = -pthread_create(&syncer->thread, NULL, syncer_main, syncer);
        syncer->running = r >= 0;
        return r;
}

int syncer_offer(Syncer *syncer, const IngestCheckpoint *checkpoint) {
        (void) pthread_mutex_lock(&syncer->lock);
        int r = syncer->error;
        if (r >= 0 && is_due(syncer, checkpoint->state.bytes))
                r = begin(syncer, checkpoint);
        (void) pthread_mutex_unlock(&syncer->lock);
        return r;
}

int syncer_drain(Syncer *syncer) {
        if (syncer->running) {
                (void) pthread_mutex_lock(&syncer->lock);
                syncer->stopping = true;
                (void) pthread_cond_signal(&syncer->changed);
                (void) pthread_mutex_unlock(&syncer->lock);
                (void) pthread_join(syncer->thread, NULL);
                syncer->running = syncer->stopping = false;
        }
        return syncer->error;
}

int syncer_finish(Syncer *syncer, const IngestCheckpoint *checkpoint) {
        int r = syncer_drain(syncer);
        if (r < 0 || checkpoint->state.bytes < SOME || checkpoint->state.bytes == syncer->durable)
                return r;
        syncer->error = sync_all(syncer, checkpoint, syncer->turn++, &syncer->durable);
        return syncer->error;
}

uint64_t syncer_durable(Syncer *syncer) {
        (void) pthread_mutex_lock(&syncer->lock);
        uint64_t durable = syncer->durable;
        (void) pthread_mutex_unlock(&syncer->lock);
        return durable;
}

Syncer *syncer_free(Syncer *syncer) {
        if (!syncer)
                return NULL;
        (void) syncer_drain(syncer);
        (void) pthread_mutex_destroy(&syncer->lock);
        (void) pthread_cond_destroy(&syncer->changed);
        free(syncer);
        return NULL;
}
