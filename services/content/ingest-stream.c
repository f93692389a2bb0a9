/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/content/ingest-stream.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
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
        Syncer *syncer;
        uint64_t size;     /* promised, or INGEST_SIZE_UNKNOWN */
        uint64_t received; /* bytes in the file */
        bool finish;       /* Commit waits: all that was promised is enough */
        bool ended;        /* end of file was read */
        bool whole;        /* no more can come (ingest-checkpoint.h) */
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
        IngestMessage message = {
                .type = INGEST_PROGRESS,
                .bytes = stream->received,
                .durable = syncer_durable(stream->syncer),
        };
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

/* How many bytes may come: those that were promised, as far as so many are taken. */
static uint64_t stream_limit(const Stream *stream) {
        return MIN_OF(stream->size, stream->spec->start->at_most);
}

/* All of these have come: is there more? As read(). */
static ssize_t stream_probe(const Stream *stream) {
        uint8_t excess;
        ssize_t n = read(stream->spec->stream, &excess, sizeof(excess));
        if (n > 0)
                return stream->size <= stream->spec->start->at_most ? -E2BIG : -EDQUOT;
        return n < 0 ? -errno : 0;
}

/* Moves what is in the pipe to the file: the count, 0 at the end of the stream, -EAGAIN if there is nothing.
 */
static ssize_t stream_move(Stream *stream, size_t pending) {
        uint64_t position = stream->received + pending, room = HASHER_PIECE - pending;
        uint64_t limit = stream_limit(stream);
        if (position >= limit)
                return stream_probe(stream);
        room = MIN_OF(room, limit - position);
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

/* A worker before this one that was killed may still be in a system call that writes to these files: it is
 * waited for, by a lock that goes with its last thread. What it took back meanwhile was told to the client.
 */
static int stream_claim(const IngestStreamSpec *spec) {
        const IngestMessage *start = spec->start;
        IngestCheckpoint checkpoint;
        IngestResume resume;
        while (flock(spec->data, LOCK_EX) < 0)
                if (errno != EINTR)
                        return -errno;
        ingest_checkpoint_init(&checkpoint, start->checkpoint.boot_id,
                               (DigestAlgorithm) start->checkpoint.state.algorithm);
        int r = ingest_checkpoint_read(spec->checkpoint, spec->data, &checkpoint, &resume);
        return r < 0 ? r : resume.offset < start->resume.offset ? -EAGAIN : 0;
}

/* From here on checkpoint and bytes are those of an unfinished ingest at the offset that the client knows.
 */
static int stream_prepare(const Stream *stream, IngestCheckpoint *checkpoint) {
        const IngestStreamSpec *spec = stream->spec;
        const IngestResume *resume = &spec->start->resume;
        *checkpoint = spec->start->checkpoint;
        int r = checkpoint->state.version > 0
                        ? 0
                        : digest_state_init(&checkpoint->state,
                                            (DigestAlgorithm) checkpoint->state.algorithm);
        if (r >= 0)
                r = stream_claim(spec);
        if (r < 0)
                return r;
        if (!stream->whole && (ftruncate(spec->data, (off_t) resume->offset) < 0 ||
                               lseek(spec->data, (off_t) resume->offset, SEEK_SET) < 0))
                return -errno;
        checkpoint->complete = 0;
        r = ingest_checkpoint_write(spec->checkpoint, checkpoint);
        return r < 0 ? r : fd_set_nonblocking(spec->stream, true);
}

static bool can_be_committed(const IngestMessage *start, const IngestMessage *ended) {
        return ended->error >= 0 && (!start->has_digest || digest_equal(&start->digest, &ended->digest));
}

/* What can be committed is synced for that; what is to be continued outlives the power from now on. What did
 * not get to the disk is not what was hashed, and does not count any longer. */
static int stream_sync(Stream *stream, const IngestMessage *ended, const IngestCheckpoint *checkpoint) {
        const IngestStreamSpec *spec = stream->spec;
        int r = syncer_drain(stream->syncer);
        if (r >= 0 && can_be_committed(spec->start, ended))
                r = fsync(spec->data) < 0 ? -errno : 0;
        else if (r >= 0)
                r = syncer_finish(stream->syncer, checkpoint);
        if (r >= 0)
                return 0;
        return ingest_checkpoint_fall_back(spec->checkpoint, spec->data) < 0 ? -EIO : r;
}

/* What is in the file already: nothing, unless that is whole, and the power has taken the rest of the
 * checkpoint. */
static int stream_hash_rest(Stream *stream, uint64_t hashed) {
        int r = 0;
        for (uint64_t n; hashed < stream->received && r >= 0; hashed += n) {
                n = MIN_OF(stream->received - hashed, (uint64_t) HASHER_PIECE);
                r = hasher_push(stream->hasher, (size_t) n);
        }
        return r;
}

static int stream_run(Stream *stream, IngestCheckpoint *checkpoint) {
        const IngestStreamSpec *spec = stream->spec;
        _cleanup_(hasher_freep) Hasher *hasher = NULL;
        int r = hasher_new(checkpoint, spec->checkpoint, spec->data, stream->syncer, &hasher);
        if (r < 0)
                return r;
        stream->hasher = hasher;
        r = stream_hash_rest(stream, checkpoint->state.bytes);
        if (r >= 0)
                r = stream_receive(stream);
        /* Too few and too many have been read to the end as well: what is there is whole. */
        bool complete = r >= 0 || r == -ENODATA || r == -E2BIG;
        int drained = hasher_drain(hasher, complete, checkpoint);
        if (drained < 0)
                return r < 0 ? r : drained;
        if (!stream->whole && ftruncate(spec->data, (off_t) checkpoint->state.bytes) < 0 && r >= 0)
                r = -errno;
        return r;
}

void ingest_stream_run(const IngestStreamSpec *spec, IngestMessage *ret_ended) {
        _cleanup_(syncer_freep) Syncer *syncer = NULL;
        IngestMessage ended = { .type = INGEST_ENDED };
        const SyncerSpec syncer_spec = {
                .data = spec->data,
                .checkpoint = spec->checkpoint,
                .directory = spec->directory,
                .offset = spec->start->resume.offset,
        };
        IngestCheckpoint checkpoint;
        Stream stream = {
                .spec = spec,
                .size = spec->start->size,
                .received = spec->start->resume.offset,
                .reported = spec->start->resume.offset,
                .reported_ms = now_ms(),
                .whole = ingest_data_is_whole(spec->data),
        };
        if (stream.whole && stream.size == INGEST_SIZE_UNKNOWN)
                stream.size = stream.received;

        int r = stream_prepare(&stream, &checkpoint);
        if (r >= 0)
                r = syncer_new(&syncer_spec, &syncer);
        if (r >= 0) {
                stream.syncer = syncer;
                r = stream_run(&stream, &checkpoint);
        }
        ended.error = r;
        ended.bytes = checkpoint.state.bytes;
        digest_state_finish(&checkpoint.state, &ended.digest);
        if (syncer) {
                r = stream_sync(&stream, &ended, &checkpoint);
                if (r < 0)
                        ended.error = r;
                ended.durable = syncer_durable(syncer);
        }
        *ret_ended = ended;
}
