/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/content/ingest-stream.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/message.h"
#include "services/content/ingest-hasher.h"
#include "services/content/ingest-store.h"

/* Four a second and the end itself: at most five changes of a property. */
#define PROGRESS_INTERVAL_MS 250
/* How long a piece that is not full waits for more. */
#define LINGER_MS 5

typedef struct Stream {
        const IngestStreamSpec *spec;
        Hasher *hasher;
        uint64_t size;     /* promised, or INGEST_SIZE_UNKNOWN */
        uint64_t received; /* bytes in the file */
        bool finish;       /* Commit waits: all that was promised is enough */
        bool ended;        /* end of file was read */
        uint64_t reported;
        int64_t reported_ms;
} Stream;

static int64_t now_ms(void) {
        struct timespec now;
        (void) clock_gettime(CLOCK_MONOTONIC, &now);
        return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void stream_report(Stream *stream) {
        if (stream->received == stream->reported || now_ms() - stream->reported_ms < PROGRESS_INTERVAL_MS)
                return;
        IngestMessage message = { .type = INGEST_PROGRESS, .bytes = stream->received };
        /* A daemon that does not listen gets the next one. */
        (void) message_send(stream->spec->control, &message, sizeof(message), NULL, 0);
        stream->reported = stream->received;
        stream->reported_ms = now_ms();
}

static int stream_on_control(Stream *stream) {
        IngestMessage message;
        ssize_t n = message_receive(stream->spec->control, &message, sizeof(message), NULL, NULL);
        if (n <= 0)
                return n == 0 ? -ECONNRESET : (int) n;
        if (n != sizeof(message) || message.type != INGEST_FINISH)
                return -EPROTO;
        if (stream->size == INGEST_SIZE_UNKNOWN)
                stream->size = message.size;
        stream->finish = true;
        return 0;
}

/* 1 when the stream can be read, 0 when not yet (timeout_ms -1: never). */
static int stream_wait(Stream *stream, int timeout_ms) {
        struct pollfd fds[] = {
                { .fd = stream->spec->stream, .events = POLLIN },
                { .fd = stream->spec->control, .events = POLLIN },
        };
        if (poll(fds, ELEMENTS_OF(fds), timeout_ms) < 0)
                return errno == EINTR ? 0 : -errno;
        if (fds[1].revents) {
                int r = stream_on_control(stream);
                if (r < 0)
                        return r;
        }
        return fds[0].revents != 0;
}

static bool stream_is_enough(const Stream *stream, size_t pending) {
        return stream->finish && stream->received + pending == stream->size;
}

/* How long to wait when the pipe is empty, with so many bytes not yet handed on. */
static int stream_patience(const Stream *stream, size_t pending) {
        if (stream_is_enough(stream, pending))
                return 0;
        if (pending > 0)
                return LINGER_MS;
        return stream->received > stream->reported ? PROGRESS_INTERVAL_MS : -1;
}

/* All that was promised has come: is there more? As read(). */
static ssize_t stream_probe(const Stream *stream) {
        uint8_t excess;
        ssize_t n = read(stream->spec->stream, &excess, sizeof(excess));
        if (n > 0)
                return -E2BIG;
        return n < 0 ? -errno : 0;
}

/* Moves what is in the pipe to the file: the count, 0 at the end of the stream, -EAGAIN if there is nothing.
 */
static ssize_t stream_move(Stream *stream, size_t pending) {
        uint64_t position = stream->received + pending, room = HASHER_PIECE - pending;
        if (position == stream->size)
                return stream_probe(stream);
        if (stream->size != INGEST_SIZE_UNKNOWN)
                room = MIN_OF(room, stream->size - position);
        ssize_t n;
        do
                n = splice(stream->spec->stream, NULL, stream->spec->data, NULL, (size_t) room,
                           SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        while (n < 0 && errno == EINTR);
        return n < 0 ? -errno : n;
}

/* Takes as many bytes as come without a pause, up to a piece. 0 with ended, or after a pause. */
static ssize_t stream_fill(Stream *stream) {
        size_t pending = 0;

        while (pending < HASHER_PIECE) {
                ssize_t n = stream_move(stream, pending);
                if (n == 0) {
                        stream->ended = true;
                        break;
                }
                if (n > 0)
                        pending += (size_t) n;
                if (n >= 0)
                        continue;
                if (n != -EAGAIN)
                        return n;
                int patience = stream_patience(stream, pending);
                int r = stream_wait(stream, patience);
                if (r < 0)
                        return r;
                if (r > 0)
                        continue;
                if (patience == 0) /* enough, and nothing was written beyond it before FINISH came */
                        stream->ended = true;
                if (patience >= 0)
                        break;
        }
        return (ssize_t) pending;
}

static int stream_receive(Stream *stream) {
        while (!stream->ended) {
                ssize_t n = stream_fill(stream);
                if (n < 0)
                        return (int) n;
                stream->received += (uint64_t) n;
                int r = n > 0 ? hasher_push(stream->hasher, (size_t) n) : 0;
                if (r < 0)
                        return r;
                stream_report(stream);
        }
        if (stream->size == INGEST_SIZE_UNKNOWN || stream->received == stream->size)
                return 0;
        return stream->received < stream->size ? -ENODATA : -E2BIG;
}

/* After another boot: the hash of what is on the disk. */
static int rehash(int data, uint64_t size, DigestState *state) {
        _cleanup_free_ uint8_t *buffer = malloc(HASHER_PIECE);
        if (!buffer)
                return -ENOMEM;
        while (state->bytes < size) {
                size_t want = MIN_OF(size - state->bytes, HASHER_PIECE);
                ssize_t n = pread(data, buffer, want, (off_t) state->bytes);
                if (n <= 0)
                        return n < 0 ? -errno : -EIO;
                digest_state_update(state, buffer, (size_t) n);
        }
        return 0;
}

/* From here on checkpoint and bytes are those of an unfinished ingest at the offset that the client knows.
 */
static int stream_prepare(const IngestStreamSpec *spec, IngestCheckpoint *checkpoint) {
        const IngestResume *resume = &spec->start->resume;
        *checkpoint = spec->start->checkpoint;
        if (resume->rehash) {
                int r = rehash(spec->data, resume->offset, &checkpoint->state);
                if (r < 0)
                        return r;
        }
        if (ftruncate(spec->data, (off_t) resume->offset) < 0 ||
            lseek(spec->data, (off_t) resume->offset, SEEK_SET) < 0)
                return -errno;
        checkpoint->complete = 0;
        int r = ingest_checkpoint_write(spec->checkpoint, checkpoint);
        return r < 0 ? r : fd_set_nonblocking(spec->stream, true);
}

/* What did not get to the disk is not what was hashed: nothing of it counts any longer. */
static int stream_sync(const IngestStreamSpec *spec) {
        if (fsync(spec->data) >= 0)
                return 0;
        int r = -errno;
        if (ftruncate(spec->checkpoint, 0) < 0 || ftruncate(spec->data, 0) < 0)
                return -EIO;
        return r;
}

static bool can_be_committed(const IngestMessage *start, const IngestMessage *ended) {
        return ended->error >= 0 && (!start->has_digest || digest_equal(&start->digest, &ended->digest));
}

void ingest_stream_run(const IngestStreamSpec *spec, IngestMessage *ret_ended) {
        _cleanup_(hasher_freep) Hasher *hasher = NULL;
        IngestMessage ended = { .type = INGEST_ENDED };
        IngestCheckpoint checkpoint;
        Stream stream = {
                .spec = spec,
                .size = spec->start->size,
                .received = spec->start->resume.offset,
                .reported = spec->start->resume.offset,
                .reported_ms = now_ms(),
        };

        int r = stream_prepare(spec, &checkpoint);
        if (r >= 0)
                r = hasher_new(&checkpoint, spec->checkpoint, spec->data, &hasher);
        if (r >= 0) {
                stream.hasher = hasher;
                r = stream_receive(&stream);
                /* Too few and too many have been read to the end as well: what is there is whole. */
                bool complete = r >= 0 || r == -ENODATA || r == -E2BIG;
                int drained = hasher_drain(hasher, complete, &checkpoint);
                if (drained < 0 && r >= 0)
                        r = drained;
                if (drained >= 0 && ftruncate(spec->data, (off_t) checkpoint.state.bytes) < 0 && r >= 0)
                        r = -errno;
        }
        ended.error = r;
        ended.bytes = checkpoint.state.bytes;
        digest_state_finish(&checkpoint.state, &ended.digest);
        if (can_be_committed(spec->start, &ended))
                ended.error = stream_sync(spec);
        *ret_ended = ended;
}
