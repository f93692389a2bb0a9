/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/diff-output.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "services/snapshots/compress.h"

#define PART_SIZE ((size_t) 512 * 1024)
#define PART_COUNT 4U
#define PROGRESS_STEP (UINT64_C(4) * 1024 * 1024)

struct DiffOutput {
        DiffOutputSpec spec;
        Compressor compressor;
        DigestState archive, stream;
        uint64_t announced;

        pthread_t thread;
        bool started;
        pthread_mutex_t lock;
        pthread_cond_t changed;
        /* Under the lock: how many parts were filled, and how many of them are written. */
        uint64_t filled, written;
        bool ended, aborted;
        int error;
        Fault fault;

        size_t sizes[PART_COUNT];
        char *parts[PART_COUNT];
        size_t used; /* of the part that is being filled */
};

/* ---- the thread ---- */

static int wait_for_reader(const DiffOutput *output, Fault *fault) {
        struct pollfd poll_fd = { .fd = output->spec.fd, .events = POLLOUT };
        int r = poll(&poll_fd, 1, output->spec.stall_seconds * 1000);
        if (r == 0)
                return fault_set(fault, -ETIMEDOUT, "Nobody has read the layer for %i seconds",
                                 output->spec.stall_seconds);
        return r < 0 && errno != EINTR ? -errno : 0;
}

static int write_stream(void *userdata, const void *data, size_t size) {
        DiffOutput *output = userdata;
        digest_state_update(&output->stream, data, size);
        for (const char *p = data; size > 0;) {
                ssize_t n = write(output->spec.fd, p, size);
                int r = 0;
                if (n < 0 && errno == EAGAIN)
                        r = wait_for_reader(output, &output->fault);
                else if (n < 0 && errno == EPIPE)
                        r = fault_set(&output->fault, -ECANCELED, "Nobody reads the layer any more");
                else if (n < 0 && errno != EINTR)
                        r = -errno;
                if (r < 0)
                        return r;
                if (n > 0) {
                        p += n;
                        size -= (size_t) n;
                }
        }
        if (output->spec.on_progress && output->stream.bytes >= output->announced + PROGRESS_STEP) {
                output->announced = output->stream.bytes;
                output->spec.on_progress(output->announced);
        }
        return 0;
}

/* The next part; 0 at the end. */
static size_t take_part(DiffOutput *output, bool *ret_aborted, const char **ret) {
        (void) pthread_mutex_lock(&output->lock);
        while (output->filled == output->written && !output->ended && !output->aborted)
                (void) pthread_cond_wait(&output->changed, &output->lock);
        size_t size = output->filled > output->written ? output->sizes[output->written % PART_COUNT] : 0;
        *ret = output->parts[output->written % PART_COUNT];
        *ret_aborted = output->aborted;
        (void) pthread_mutex_unlock(&output->lock);
        return size;
}

static void give_part_back(DiffOutput *output, int error) {
        (void) pthread_mutex_lock(&output->lock);
        output->written++;
        output->error = error;
        (void) pthread_cond_signal(&output->changed);
        (void) pthread_mutex_unlock(&output->lock);
}

static void *run(void *userdata) {
        DiffOutput *output = userdata;
        const CompressSink sink = { .write = write_stream, .userdata = output };
        for (int r = 0; r >= 0;) {
                bool aborted;
                const char *part;
                size_t size = take_part(output, &aborted, &part);
                if (aborted)
                        break;
                digest_state_update(&output->archive, part, size);
                r = compressor_write(&output->compressor, part, size, size == 0, &sink);
                give_part_back(output, r);
                if (size == 0)
                        break;
        }
        return NULL;
}

/* ---- the other side ---- */

/* Hands the part over that is being filled, and waits for a free one. */
static int hand_over(DiffOutput *output) {
        (void) pthread_mutex_lock(&output->lock);
        output->sizes[output->filled % PART_COUNT] = output->used;
        output->used = 0;
        output->filled++;
        (void) pthread_cond_signal(&output->changed);
        while (output->filled - output->written == PART_COUNT && output->error >= 0)
                (void) pthread_cond_wait(&output->changed, &output->lock);
        int r = output->error;
        (void) pthread_mutex_unlock(&output->lock);
        return r;
}

static int output_write(void *userdata, const void *data, size_t size) {
        DiffOutput *output = userdata;
        for (const char *p = data; size > 0;) {
                size_t n = MIN_OF(size, PART_SIZE - output->used);
                memcpy(output->parts[output->filled % PART_COUNT] + output->used, p, n);
                output->used += n;
                p += n;
                size -= n;
                int r = output->used == PART_SIZE ? hand_over(output) : 0;
                if (r < 0)
                        return r;
        }
        return 0;
}

TarSink diff_output_sink(DiffOutput *output) {
        return (TarSink){ .write = output_write, .userdata = output };
}

static int end_thread(DiffOutput *output, bool complete) {
        if (!output->started)
                return output->error;
        (void) pthread_mutex_lock(&output->lock);
        output->ended = true;
        output->aborted = !complete;
        (void) pthread_cond_signal(&output->changed);
        (void) pthread_mutex_unlock(&output->lock);
        (void) pthread_join(output->thread, NULL);
        output->started = false;
        return output->error;
}

static int output_fault(DiffOutput *output, int r, Fault *fault) {
        fault_move(fault, &output->fault);
        return fault_set_errno(fault, r, "Can't write the layer");
}

int diff_output_check(DiffOutput *output, Fault *fault) {
        (void) pthread_mutex_lock(&output->lock);
        int r = output->error;
        (void) pthread_mutex_unlock(&output->lock);
        return r < 0 ? output_fault(output, end_thread(output, false), fault) : 0;
}

int diff_output_finish(DiffOutput *output, DiffResult *ret, Fault *fault) {
        int r = output->used > 0 ? hand_over(output) : 0;
        r = end_thread(output, r >= 0);
        if (r < 0)
                return output_fault(output, r, fault);
        digest_state_finish(&output->archive, &ret->diff_id);
        digest_state_finish(&output->stream, &ret->digest);
        ret->size = output->stream.bytes;
        return 0;
}

int diff_output_new(const DiffOutputSpec *spec, DiffOutput **ret, Fault *fault) {
        _cleanup_(diff_output_freep) DiffOutput *output = new0(DiffOutput, 1);
        if (!output)
                return -ENOMEM;
        output->spec = *spec;
        (void) pthread_mutex_init(&output->lock, NULL);
        (void) pthread_cond_init(&output->changed, NULL);
        for (size_t i = 0; i < PART_COUNT; i++)
                if (!(output->parts[i] = malloc(PART_SIZE)))
                        return -ENOMEM;
        int r = digest_state_init(&output->archive, DIGEST_SHA256);
        if (r >= 0)
                r = digest_state_init(&output->stream, DIGEST_SHA256);
        if (r >= 0)
                r = compressor_init(&output->compressor, spec->compression, spec->level, spec->reproducible);
        if (r < 0)
                return fault_set_errno(fault, r, "Can't prepare for compressing");
        r = -pthread_create(&output->thread, NULL, run, output);
        if (r < 0)
                return fault_set_errno(fault, r, "Can't start a thread");
        output->started = true;
        *ret = TAKE_PTR(output);
        return 0;
}

DiffOutput *diff_output_free(DiffOutput *output) {
        if (!output)
                return NULL;
        (void) end_thread(output, false);
        compressor_done(&output->compressor);
        for (size_t i = 0; i < PART_COUNT; i++)
                free(output->parts[i]);
        (void) pthread_cond_destroy(&output->changed);
        (void) pthread_mutex_destroy(&output->lock);
        fault_done(&output->fault);
        return mfree(output);
}
