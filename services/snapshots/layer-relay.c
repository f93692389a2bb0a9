/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/layer-relay.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>

#include "lib/limits.h"

#define PROGRESS_MILLISECONDS 100
/* What is hashed at once, so soon after it was copied that both is in the nearest cache. */
#define PIECE_SIZE ((size_t) 16 * 1024)

typedef struct RelayRun {
        LayerRelay *relay;
        DigestState digest;
        uint64_t size; /* of the archive, so far */
        uint64_t size_max;
        size_t pending; /* bytes of the decompressor's chunk that is here and was not passed on */
        bool has_end;   /* it has sent everything */
        bool is_done;   /* the writer has written everything */
        uint64_t result_size;

        int64_t begin;        /* milliseconds, as the rest */
        int64_t waited;       /* in the current window, for the stream */
        uint64_t taken;       /* bytes of the layer that were read */
        uint64_t window_from; /* what that was when the window began */
        uint64_t told;        /* what that was when somebody was told */
        int64_t told_at;
} RelayRun;

static int64_t milliseconds_now(void) {
        struct timespec now;
        (void) clock_gettime(CLOCK_MONOTONIC, &now);
        return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int part_is_gone(RelayRun *run, LayerSide side, Fault *fault) {
        run->relay->gone = side;
        return fault_set(fault, -EIO, "The process that %s the layer ended without a word",
                         side == LAYER_SIDE_WRITE ? "writes" : "decompresses");
}

static int bad_message(Fault *fault) {
        return fault_set(fault, -EIO, "A process that unpacks the layer does not keep to the rules");
}

static int report_of(const WorkerMessage *report, Fault *fault) {
        return fault_set(fault, report->error, "%s", report->text);
}

/* ---- what the two say ---- */

static int on_decompressor(RelayRun *run, Fault *fault) {
        ChunkNote note;
        WorkerMessage report;
        int r = chunk_end_receive(&run->relay->from, &note, &report);
        if (r == 0)
                return part_is_gone(run, LAYER_SIDE_DECOMPRESS, fault);
        if (r == 2 && report.type == WORKER_FAILED)
                return report_of(&report, fault);
        if (r != 1 || note.type == CHUNK_NOTE_FREE)
                return bad_message(fault);
        if (note.type == CHUNK_NOTE_END) {
                run->has_end = true;
                (void) chunk_end_publish(&run->relay->to, 0, 0); /* as in pass_on() */
                return 0;
        }
        run->pending = note.size;
        run->relay->from.current = (unsigned) note.chunk;
        run->taken = note.taken;
        run->size += note.size;
        if (run->size > run->size_max)
                return fault_set(fault, -EDQUOT, "The layer unpacks to more than %llu bytes",
                                 (unsigned long long) run->size_max);
        return 0;
}

static int on_writer(RelayRun *run, Fault *fault) {
        ChunkNote note;
        WorkerMessage report;
        ChunkEnd *to = &run->relay->to;
        int r = chunk_end_receive(to, &note, &report);
        if (r == 0)
                return part_is_gone(run, LAYER_SIDE_WRITE, fault);
        if (r == 2 && report.type == WORKER_FAILED)
                return report_of(&report, fault);
        if (r == 2 && report.type == WORKER_DONE && run->has_end) {
                run->is_done = true;
                run->result_size = report.bytes;
                return 0;
        }
        return r != 1 || chunk_end_take_back(to, &note) < 0 ? bad_message(fault) : 0;
}

/* The copy is what is hashed, and what the writer sees. */
static int pass_on(RelayRun *run, Fault *fault) {
        LayerRelay *relay = run->relay;
        uint8_t *to = chunk_end_pick(&relay->to);
        const uint8_t *from = chunk_end_data(&relay->from);
        size_t size = run->pending;
        for (size_t done = 0, n; done < size; done += n) {
                n = MIN_OF(size - done, PIECE_SIZE);
                memcpy(to + done, from + done, n);
                digest_state_update(&run->digest, to + done, n);
        }
        run->pending = 0;
        (void) chunk_end_give_back(&relay->from);      /* it may have sent everything, and ended */
        (void) chunk_end_publish(&relay->to, size, 0); /* why not, it says itself */
        return 0;
}

/* ---- time ---- */

static int check_window(RelayRun *run, Fault *fault) {
        const LayerPace *pace = &run->relay->unpack->pace;
        if (pace->window_seconds == 0 || run->waited < (int64_t) pace->window_seconds * 1000)
                return 0;
        uint64_t arrived = run->taken - run->window_from;
        if (arrived < pace->window_bytes)
                return fault_set(fault, -ETIMEDOUT, "Only %llu bytes of the layer arrived in %i seconds",
                                 (unsigned long long) arrived, pace->window_seconds);
        run->waited = 0;
        run->window_from = run->taken;
        return 0;
}

static void tell_progress(RelayRun *run, int64_t now) {
        const LayerUnpack *unpack = run->relay->unpack;
        if (!unpack->on_progress || run->taken == run->told || now - run->told_at < PROGRESS_MILLISECONDS)
                return;
        run->told = run->taken;
        run->told_at = now;
        unpack->on_progress(run->taken, unpack->userdata);
}

static int wait_for_one(RelayRun *run, bool wants_input, short *ret_from, short *ret_to, Fault *fault) {
        const LayerPace *pace = &run->relay->unpack->pace;
        struct pollfd fds[] = {
                { .fd = run->relay->to.socket, .events = POLLIN },
                { .fd = run->relay->from.socket, .events = POLLIN },
        };
        int64_t now = milliseconds_now(), left = INT32_MAX;
        if (pace->deadline_seconds > 0)
                left = (int64_t) pace->deadline_seconds * 1000 - (now - run->begin);
        if (left <= 0)
                return fault_set(fault, -ETIMEDOUT, "The layer was not unpacked within %i seconds",
                                 pace->deadline_seconds);
        tell_progress(run, now);
        if (run->taken != run->told)
                left = MIN_OF(left, PROGRESS_MILLISECONDS);
        if (wants_input && pace->window_seconds > 0)
                left = MIN_OF(left, (int64_t) pace->window_seconds * 1000 - run->waited);
        int r = poll(fds, wants_input ? 2 : 1, (int) MAX_OF(left, 1));
        if (r < 0 && errno != EINTR)
                return fault_set_errno(fault, -errno, "Can't wait for the layer");
        if (wants_input)
                run->waited += milliseconds_now() - now;
        *ret_to = r > 0 ? fds[0].revents : 0;
        *ret_from = r > 0 && wants_input ? fds[1].revents : 0;
        return wants_input ? check_window(run, fault) : 0;
}

/* ---- all of it ---- */

static int relay_step(RelayRun *run, Fault *fault) {
        short from = 0, to = 0;
        bool wants_input = run->pending == 0 && !run->has_end;
        if (run->pending > 0 && !chunk_end_is_full(&run->relay->to))
                return pass_on(run, fault);
        int r = wait_for_one(run, wants_input, &from, &to, fault);
        if (r >= 0 && to != 0)
                r = on_writer(run, fault);
        if (r >= 0 && from != 0)
                r = on_decompressor(run, fault);
        return r;
}

int layer_relay_run(LayerRelay *relay, LayerResult *ret, Fault *fault) {
        RelayRun run = { .relay = relay, .begin = milliseconds_now() };
        run.size_max = relay->unpack->rules.size_max > 0 ? relay->unpack->rules.size_max : LIMIT_LAYER_SIZE;
        int r = digest_state_init(&run.digest, relay->unpack->algorithm);
        if (r < 0)
                return fault_set_errno(fault, r, "Can't hash the layer");
        while (r >= 0 && !run.is_done)
                r = relay_step(&run, fault);
        if (r < 0)
                return r;
        ret->size = run.result_size;
        digest_state_finish(&run.digest, &ret->diff_id);
        return 0;
}
