/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A stream of bytes from one process to another through shared memory, where neither trusts the other: the
 * consumer can't change what it is given, and who produces what may do so only until it is handed over (or
 * the consumer copies it before it believes it). Chunks are announced and given back on a socket, so whoever
 * dies is noticed, and at the end each says how it went. */

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/macros.h"
#include "services/snapshots/worker-message.h"

/* Large, as each costs two messages, and who waits for them may have to be woken. */
#define CHUNK_SIZE ((size_t) 1024 * 1024)
/* Of one pipe: the bits of ChunkEnd.busy. */
#define CHUNKS_MAX 64

/* Before it is known who is who. */
typedef struct ChunkPipe {
        unsigned count; /* of chunks */
        int memory;     /* for the producer */
        int reading;    /* the same, for the consumer: nothing can be written through it */
        bool is_sealed; /* else nobody has a descriptor of memory any more when all have their ends */
        int producer;
        int consumer;
} ChunkPipe;

#define CHUNK_PIPE_NULL                                                                                     \
        ((ChunkPipe){ .memory = -EBADF, .reading = -EBADF, .producer = -EBADF, .consumer = -EBADF })

/* One end of it. */
typedef struct ChunkEnd {
        uint8_t *data;
        int socket;
        unsigned count;
        uint64_t busy;    /* a bit for each chunk that was sent, or arrived, and was not given back */
        unsigned current; /* the chunk that is filled, or was announced last */
        bool ended;
} ChunkEnd;

#define CHUNK_END_NULL ((ChunkEnd){ .socket = -EBADF })

int chunk_pipe_new(unsigned count, ChunkPipe *ret);
void chunk_pipe_done(ChunkPipe *pipe);

/* Takes the end's socket and what the memory can be written through, which a process that was forked before
 * must close itself; a child that is forked later does not have this mapping. */
int chunk_pipe_produce(ChunkPipe *pipe, ChunkEnd *ret);
int chunk_pipe_consume(ChunkPipe *pipe, ChunkEnd *ret);
void chunk_end_done(ChunkEnd *end);

typedef enum ChunkNoteType {
        CHUNK_NOTE_DATA = 1, /* size bytes in the chunk */
        CHUNK_NOTE_END,
        CHUNK_NOTE_FREE, /* the chunk is given back */
        _CHUNK_NOTE_TYPE_MAX,
} ChunkNoteType;

typedef struct ChunkNote {
        uint32_t type;
        uint32_t size;
        uint64_t chunk; /* which one, from 0 */
        uint64_t taken; /* what the producer has read for it so far */
} ChunkNote;

/* ---- for a side that may wait ---- */

/* The next free chunk. NULL: the other side is gone. */
uint8_t *chunk_end_reserve(ChunkEnd *end);
/* size 0: the end of the stream. -EPIPE: the other side is gone. */
int chunk_end_publish(ChunkEnd *end, size_t size, uint64_t taken);
/* Gives back the chunk before, and waits for one: 1, 0 at the end (again and again), -EPIPE. */
int chunk_end_next(ChunkEnd *end, const uint8_t **ret_data, size_t *ret_size);
/* The last word. */
int chunk_end_report(ChunkEnd *end, const WorkerMessage *report);

/* ---- for a side that may not ---- */

/* One message that is there: 1 a note, 2 a report, 0 the other side is gone. What the other side says is
 * checked: -EBADMSG. */
int chunk_end_receive(ChunkEnd *end, ChunkNote *ret_note, WorkerMessage *ret_report);
/* Who produces got this note. -EBADMSG: it gives back what was not sent. */
int chunk_end_take_back(ChunkEnd *end, const ChunkNote *note);
bool chunk_end_is_full(const ChunkEnd *end);
/* A free chunk of one that is not full. */
uint8_t *chunk_end_pick(ChunkEnd *end);
/* The chunk that a CHUNK_NOTE_DATA announced. */
const uint8_t *chunk_end_data(const ChunkEnd *end);
int chunk_end_give_back(ChunkEnd *end);
