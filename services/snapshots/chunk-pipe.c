/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/chunk-pipe.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/message.h"

static size_t memory_size(unsigned count) {
        return CHUNK_SIZE * count;
}

/* In a file system of its own that nothing leads to, as only such a one can be asked for huge pages whatever
 * the host does with other shared memory: the first touch of each small page costs as much as it takes to
 * decompress what fits into two. -EPERM without CAP_SYS_ADMIN, -EINVAL if the kernel has no such pages. */
static int memory_new_huge(size_t size, ChunkPipe *pipe) {
        _cleanup_close_ int context = fsopen("tmpfs", FSOPEN_CLOEXEC);
        if (context < 0 || fsconfig(context, FSCONFIG_SET_STRING, "huge", "within_size", 0) < 0 ||
            fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
                return -errno;
        _cleanup_close_ int mount =
                fsmount(context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
        if (mount < 0)
                return -errno;
        _cleanup_close_ int memory = openat(mount, "chunks", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (memory < 0 || ftruncate(memory, (off_t) size) < 0)
                return -errno;
        int reading = openat(mount, "chunks", O_RDONLY | O_CLOEXEC);
        if (reading < 0)
                return -errno;
        pipe->memory = TAKE_FD(memory);
        pipe->reading = reading;
        return 0;
}

static int memory_new_sealed(size_t size, ChunkPipe *pipe) {
        _cleanup_close_ int memory = memfd_create("crt-chunks", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        /* Whoever could cut it off would kill the other side. */
        if (memory < 0 || ftruncate(memory, (off_t) size) < 0 ||
            fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0)
                return -errno;
        pipe->reading = fcntl(memory, F_DUPFD_CLOEXEC, 0);
        if (pipe->reading < 0)
                return -errno;
        pipe->memory = TAKE_FD(memory);
        pipe->is_sealed = true;
        return 0;
}

int chunk_pipe_new(unsigned count, ChunkPipe *ret) {
        ChunkPipe pipe = CHUNK_PIPE_NULL;
        int sockets[2];
        assert(count > 0 && count <= CHUNKS_MAX);
        pipe.count = count;
        if (memory_new_huge(memory_size(count), &pipe) < 0) {
                int r = memory_new_sealed(memory_size(count), &pipe);
                if (r < 0)
                        return r;
        }
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0) {
                int r = -errno;
                chunk_pipe_done(&pipe);
                return r;
        }
        pipe.producer = sockets[0];
        pipe.consumer = sockets[1];
        *ret = pipe;
        return 0;
}

void chunk_pipe_done(ChunkPipe *pipe) {
        pipe->memory = fd_close(pipe->memory);
        pipe->reading = fd_close(pipe->reading);
        pipe->producer = fd_close(pipe->producer);
        pipe->consumer = fd_close(pipe->consumer);
}

int chunk_pipe_produce(ChunkPipe *pipe, ChunkEnd *ret) {
        const size_t size = memory_size(pipe->count);
        void *data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, pipe->memory, 0);
        if (data == MAP_FAILED)
                return -errno;
        if (madvise(data, size, MADV_DONTFORK) < 0 ||
            (pipe->is_sealed && fcntl(pipe->memory, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) < 0)) {
                int r = -errno;
                (void) munmap(data, size);
                return r;
        }
        pipe->memory = fd_close(pipe->memory);
        *ret = (ChunkEnd){ .data = data, .socket = TAKE_FD(pipe->producer), .count = pipe->count };
        return 0;
}

int chunk_pipe_consume(ChunkPipe *pipe, ChunkEnd *ret) {
        const size_t size = memory_size(pipe->count);
        void *data = mmap(NULL, size, PROT_READ, MAP_SHARED, pipe->reading, 0);
        if (data == MAP_FAILED)
                return -errno;
        *ret = (ChunkEnd){ .data = data, .socket = TAKE_FD(pipe->consumer), .count = pipe->count };
        return 0;
}

void chunk_end_done(ChunkEnd *end) {
        if (end->data)
                (void) munmap(end->data, memory_size(end->count));
        end->data = NULL;
        end->socket = fd_close(end->socket);
}

static uint8_t *chunk_at(const ChunkEnd *end, unsigned number) {
        return end->data + number * CHUNK_SIZE;
}

static uint64_t chunk_bit(uint64_t number) {
        return (uint64_t) 1 << number;
}

bool chunk_end_is_full(const ChunkEnd *end) {
        return (unsigned) __builtin_popcountll(end->busy) == end->count;
}

static int note_send(ChunkEnd *end, const ChunkNote *note) {
        return message_send(end->socket, note, sizeof(*note), NULL, 0);
}

/* read(), as a process that has a directory may not receive descriptors. */
int chunk_end_receive(ChunkEnd *end, ChunkNote *ret_note, WorkerMessage *ret_report) {
        union {
                ChunkNote note;
                WorkerMessage report;
                char bytes[sizeof(WorkerMessage) + 1];
        } message;
        ssize_t n;
        do
                n = read(end->socket, &message, sizeof(message.bytes));
        /* What ended without reading everything is reported so, once, before what it had sent. */
        while (n < 0 && (errno == EINTR || errno == ECONNRESET));
        if (n <= 0)
                return n < 0 ? -errno : 0;
        if (n == sizeof(ChunkNote)) {
                *ret_note = message.note;
                if (message.note.type == 0 || message.note.type >= _CHUNK_NOTE_TYPE_MAX ||
                    message.note.size > CHUNK_SIZE || message.note.chunk >= end->count ||
                    (message.note.size == 0) != (message.note.type != CHUNK_NOTE_DATA))
                        return -EBADMSG;
                return 1;
        }
        int r = worker_message_read(&message, (size_t) n, ret_report);
        return r < 0 ? r : 2;
}

int chunk_end_take_back(ChunkEnd *end, const ChunkNote *note) {
        if (note->type != CHUNK_NOTE_FREE || !(end->busy & chunk_bit(note->chunk)))
                return -EBADMSG;
        end->busy &= ~chunk_bit(note->chunk);
        return 0;
}

/* The first one, so that as few as possible are in use: those are still in the processor's cache. */
uint8_t *chunk_end_pick(ChunkEnd *end) {
        assert(!chunk_end_is_full(end));
        end->current = (unsigned) __builtin_ctzll(~end->busy);
        return chunk_at(end, end->current);
}

/* Takes back what is there, and one in any case if there is no other. */
uint8_t *chunk_end_reserve(ChunkEnd *end) {
        struct pollfd poll_fd = { .fd = end->socket, .events = POLLIN };
        ChunkNote note;
        WorkerMessage report;
        while (chunk_end_is_full(end) || (end->busy != 0 && poll(&poll_fd, 1, 0) > 0))
                if (chunk_end_receive(end, &note, &report) != 1 || chunk_end_take_back(end, &note) < 0)
                        return NULL;
        return chunk_end_pick(end);
}

int chunk_end_publish(ChunkEnd *end, size_t size, uint64_t taken) {
        const ChunkNote note = { .type = size > 0 ? CHUNK_NOTE_DATA : CHUNK_NOTE_END,
                                 .size = (uint32_t) size,
                                 .chunk = end->current,
                                 .taken = taken };
        if (size > 0)
                end->busy |= chunk_bit(end->current);
        return note_send(end, &note);
}

const uint8_t *chunk_end_data(const ChunkEnd *end) {
        return chunk_at(end, end->current);
}

int chunk_end_give_back(ChunkEnd *end) {
        end->busy = 0;
        return note_send(end, &(ChunkNote){ .type = CHUNK_NOTE_FREE, .chunk = end->current });
}

int chunk_end_next(ChunkEnd *end, const uint8_t **ret_data, size_t *ret_size) {
        ChunkNote note;
        WorkerMessage report;
        if (end->ended)
                return 0;
        int r = end->busy != 0 ? chunk_end_give_back(end) : 0;
        if (r < 0)
                return r;
        r = chunk_end_receive(end, &note, &report);
        if (r != 1 || note.type == CHUNK_NOTE_FREE)
                return r < 0 ? r : -EPIPE;
        end->ended = note.type == CHUNK_NOTE_END;
        if (end->ended)
                return 0;
        end->busy = chunk_bit(note.chunk);
        end->current = (unsigned) note.chunk;
        *ret_data = chunk_end_data(end);
        *ret_size = note.size;
        return 1;
}

int chunk_end_report(ChunkEnd *end, const WorkerMessage *report) {
        return message_send(end->socket, report, sizeof(*report), NULL, 0);
}
