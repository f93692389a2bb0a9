/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/layer-unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/process.h"
#include "services/snapshots/layer-parts.h"
#include "services/snapshots/layer-relay.h"

/* What lies between lets the decompressor and the writer go on while the other one has the easier part of
 * the layer: many small files, or few that do not compress. Most of it is behind the relay: what the
 * decompressor fills again and again is few enough to stay in a processor's cache with its window. */
#define CHUNKS_BEFORE_RELAY 4
#define CHUNKS_BEHIND_RELAY 44

/* Together a second. */
#define END_POLLS 100
#define END_POLL_MILLISECONDS 10

/* ---- in the two others ---- */

/* Closes everything else: a part that is taken over must not reach what is not its own. */
static int keep_fds(int *fds, size_t count) {
        unsigned next = 3;
        for (size_t i = 0; i < count; i++) {
                size_t least = i;
                for (size_t k = i + 1; k < count; k++)
                        if (fds[k] < fds[least])
                                least = k;
                int fd = fds[least];
                fds[least] = fds[i];
                fds[i] = fd;
                if (fd < (int) next)
                        continue;
                if ((unsigned) fd > next && close_range(next, (unsigned) fd - 1, 0) < 0)
                        return -errno;
                next = (unsigned) fd + 1;
        }
        return close_range(next, ~0U, 0) < 0 ? -errno : 0;
}

static int part_confine(const LayerUnpack *unpack, LayerPart part, const ChunkEnd *end, Fault *fault) {
        int decompress[] = { unpack->layer, end->socket };
        int write[] = { unpack->root, unpack->notes, end->socket };
        int r = part == LAYER_PART_WRITE ? keep_fds(write, ELEMENTS_OF(write))
                                         : keep_fds(decompress, ELEMENTS_OF(decompress));
        if (r < 0)
                return fault_set_errno(fault, r, "Can't close what is not needed");
        return unpack->confine ? unpack->confine(part, fault) : 0;
}

static _noreturn_ void part_run(const LayerUnpack *unpack, LayerPart part, ChunkEnd *end) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        WorkerMessage report = { .type = WORKER_DONE };
        int r = part_confine(unpack, part, end, &fault);
        if (r >= 0)
                r = part == LAYER_PART_WRITE ? layer_part_write(unpack, end, &report.bytes, &fault)
                                             : layer_part_decompress(unpack, end, &fault);
        if (r < 0) {
                report = (WorkerMessage){ .type = WORKER_FAILED, .error = r };
                (void) snprintf(report.text, sizeof(report.text), "%s", fault_text(&fault, r));
        }
        if (r < 0 || part == LAYER_PART_WRITE)
                (void) chunk_end_report(end, &report);
        _exit(r < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
}

/* 1 in the child. */
static int part_start(pid_t *ret) {
        pid_t parent = getpid(), pid = fork();
        if (pid < 0)
                return -errno;
        *ret = pid;
        if (pid > 0)
                return 0;
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
                _exit(EXIT_FAILURE);
        return 1;
}

/* The sockets of the other pipe go with all descriptors that are not kept. */
static int start_decompressor(const LayerUnpack *unpack, ChunkPipe *pipe, pid_t *ret) {
        ChunkEnd end = CHUNK_END_NULL;
        int r = part_start(ret);
        if (r <= 0)
                return r;
        r = chunk_pipe_produce(pipe, &end);
        if (r < 0)
                _exit(EXIT_FAILURE);
        part_run(unpack, LAYER_PART_DECOMPRESS, &end);
}

static int start_writer(const LayerUnpack *unpack, ChunkPipe *pipe, pid_t *ret) {
        ChunkEnd end = CHUNK_END_NULL;
        int r = part_start(ret);
        if (r <= 0)
                return r;
        r = chunk_pipe_consume(pipe, &end);
        if (r < 0)
                _exit(EXIT_FAILURE);
        part_run(unpack, LAYER_PART_WRITE, &end);
}

/* ---- in the relay ---- */

static int part_end(pid_t pid, int flags, siginfo_t *ret) {
        int r;
        *ret = (siginfo_t){ 0 };
        do
                r = waitid(P_PID, (id_t) pid, ret, WEXITED | flags);
        while (r < 0 && errno == EINTR);
        return r < 0 ? -errno : 0;
}

/* A part that was taken over may close its socket and live on: nobody waits for it for long. */
static int part_end_soon(pid_t pid, siginfo_t *ret) {
        for (unsigned i = 0; i < END_POLLS; i++) {
                int r = part_end(pid, WNOHANG, ret);
                if (r < 0 || ret->si_pid > 0)
                        return r;
                (void) poll(NULL, 0, END_POLL_MILLISECONDS);
        }
        return -ETIMEDOUT;
}

/* What killed a part that did not say it. */
static int explain_death(const LayerRelay *relay, const pid_t pids[2], Fault *fault) {
        bool is_writer = relay->gone == LAYER_SIDE_WRITE;
        siginfo_t info;
        if (part_end_soon(pids[is_writer], &info) < 0 || info.si_code == CLD_EXITED)
                return -EIO;
        fault_done(fault);
        if (info.si_status == SIGXCPU)
                return fault_set(fault, -EDQUOT,
                                 "The layer takes more processor time to unpack than is allowed");
        const char *name = signal_to_string(info.si_status);
        return fault_set(fault, -EIO, "The process that %s the layer was killed by %s",
                         is_writer ? "writes" : "decompresses", name ? name : "a signal");
}

static int relay_all(const LayerUnpack *unpack, LayerRelay *relay, const pid_t pids[2], LayerResult *ret,
                     Fault *fault) {
        int r = unpack->confine ? unpack->confine(LAYER_PART_RELAY, fault) : 0;
        LayerResult result = { 0 };
        if (r >= 0)
                r = layer_relay_run(relay, &result, fault);
        if (r < 0 && relay->gone != LAYER_SIDE_NONE)
                r = explain_death(relay, pids, fault);
        if (r >= 0)
                *ret = result;
        return r;
}

static int start_parts(const LayerUnpack *unpack, ChunkPipe pipes[2], LayerRelay *relay, pid_t pids[2]) {
        int r = chunk_pipe_new(CHUNKS_BEFORE_RELAY, &pipes[0]);
        if (r >= 0)
                r = chunk_pipe_new(CHUNKS_BEHIND_RELAY, &pipes[1]);
        if (r >= 0)
                r = chunk_pipe_produce(&pipes[1], &relay->to);
        if (r >= 0)
                r = start_decompressor(unpack, &pipes[0], &pids[0]);
        if (r >= 0)
                r = start_writer(unpack, &pipes[1], &pids[1]);
        return r < 0 ? r : chunk_pipe_consume(&pipes[0], &relay->from);
}

int layer_unpack(const LayerUnpack *unpack, LayerResult *ret, Fault *fault) {
        ChunkPipe pipes[2] = { CHUNK_PIPE_NULL, CHUNK_PIPE_NULL };
        LayerRelay relay = { .unpack = unpack, .from = CHUNK_END_NULL, .to = CHUNK_END_NULL };
        pid_t pids[2] = { 0 };
        siginfo_t info;
        int r = start_parts(unpack, pipes, &relay, pids);
        for (size_t i = 0; i < ELEMENTS_OF(pipes); i++)
                chunk_pipe_done(&pipes[i]); /* else nobody would see the other's end */
        if (r < 0)
                r = fault_set_errno(fault, r, "Can't unpack the layer");
        else
                r = relay_all(unpack, &relay, pids, ret, fault);
        chunk_end_done(&relay.from);
        chunk_end_done(&relay.to);
        /* Those that are confined end with this process, however it went. */
        for (size_t i = 0; i < ELEMENTS_OF(pids) && !unpack->confine; i++) {
                if (pids[i] > 0 && r < 0)
                        (void) kill(pids[i], SIGKILL);
                if (pids[i] > 0)
                        (void) part_end(pids[i], 0, &info);
        }
        return r;
}
