/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Output of a container on its way into the journal: lines out of pipes become datagrams of the journal's
 * native protocol. When the journal does not keep up, the pipes are not read, and the container waits. */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define JOURNAL_STREAMS 2              /* stdout, stderr */
#define JOURNAL_LINE_MAX (48U * 1024U) /* a longer line is sent in parts */
#define JOURNAL_HEADER_MAX 512

typedef struct JournalStream {
        int pipe; /* read end; -EBADF: none, or at its end */
        char header[JOURNAL_HEADER_MAX];
        size_t header_size;
        char *buffer; /* JOURNAL_LINE_MAX bytes, page-aligned */
        size_t used;
        bool ended;
} JournalStream;

typedef struct Journal {
        int socket; /* -EBADF: there is no journal, and what arrives is dropped */
        bool blocked;
        JournalStream streams[JOURNAL_STREAMS];
} Journal;

void journal_init(Journal *journal);
/* Opens the socket; without a journal this succeeds. */
int journal_open(Journal *journal);
/* Makes the pipe of a stream; its write end is the container's. */
int journal_add_stream(Journal *journal, size_t index, const char *namespace, const char *id,
                       int *ret_write_end);

/* Reads what is there and sends what is whole. 1: more may come; 0: the end of this stream; -EAGAIN: the
 * journal's socket is full: call journal_resume() when it is writable. */
int journal_stream_read(Journal *journal, size_t index);
int journal_resume(Journal *journal);
bool journal_is_done(const Journal *journal);
void journal_done(Journal *journal);
