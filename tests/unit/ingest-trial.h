/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One ingest's stream with its files, run in a thread, and what must be in the files then. */

#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "lib/fd.h"
#include "lib/message.h"
#include "services/content/ingest-hasher.h"
#include "services/content/ingest-store.h"
#include "services/content/ingest-stream.h"
#include "tests/unit/check-directory.h"
#include "tests/unit/check.h"

#define BOOT "11111111-2222-3333-4444-555555555555"
#define MIB ((size_t) HASHER_PIECE)

/* One ingest, run in a thread. */
typedef struct Trial {
        int data, checkpoint, directory;
        int input;   /* write end */
        int control; /* the daemon's end */
        uint64_t at_most;
        IngestStreamSpec spec;
        IngestMessage start, ended;
        pthread_t thread;
} Trial;

static uint8_t *bytes; /* 40 MiB that do not repeat */

__attribute__((unused)) static Digest digest_of_first(size_t size) {
        Digest digest;
        CHECK_OK(digest_of_data(DIGEST_SHA256, bytes, size, &digest));
        return digest;
}

__attribute__((unused)) static Trial trial_files(const char *name) {
        _cleanup_close_ int directory = check_directory();
        char path[64];
        Trial trial = { .input = -EBADF, .control = -EBADF };
        (void) snprintf(path, sizeof(path), "%s.data", name);
        trial.data = openat(directory, path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        (void) snprintf(path, sizeof(path), "%s.state", name);
        trial.checkpoint = openat(directory, path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        CHECK(trial.data >= 0 && trial.checkpoint >= 0);
        trial.directory = TAKE_FD(directory);
        return trial;
}

__attribute__((unused)) static void *trial_main(void *userdata) {
        Trial *trial = userdata;
        ingest_stream_run(&trial->spec, &trial->ended);
        fd_close(trial->spec.stream);
        fd_close(trial->spec.control);
        return NULL;
}

/* size: promised; digest: NULL if none is. */
__attribute__((unused)) static void trial_begin(Trial *trial, const char *boot, uint64_t size,
                                                const Digest *digest) {
        int ends[2], sockets[2];
        CHECK_OK(pipe2(ends, O_CLOEXEC));
        CHECK_OK(message_pair(&sockets[0], &sockets[1]));
        trial->input = ends[1];
        trial->control = sockets[0];
        trial->start = (IngestMessage){
                .type = INGEST_START,
                .size = size,
                .at_most = trial->at_most > 0 ? trial->at_most : INGEST_SIZE_UNKNOWN,
                .has_digest = digest != NULL,
        };
        if (digest)
                trial->start.digest = *digest;
        ingest_checkpoint_init(&trial->start.checkpoint, boot, DIGEST_SHA256);
        CHECK_OK(ingest_checkpoint_read(trial->checkpoint, trial->data, &trial->start.checkpoint,
                                        &trial->start.resume));
        trial->spec = (IngestStreamSpec){ sockets[1],        ends[0],          trial->data,
                                          trial->checkpoint, trial->directory, &trial->start };
        CHECK_INT(pthread_create(&trial->thread, NULL, trial_main, trial), 0);
}

__attribute__((unused)) static void trial_write(Trial *trial, size_t from, size_t to) {
        CHECK_OK(fd_write_all(trial->input, bytes + from, to - from));
}

__attribute__((unused)) static void trial_end(Trial *trial) {
        trial->input = fd_close(trial->input);
        CHECK_INT(pthread_join(trial->thread, NULL), 0);
        trial->control = fd_close(trial->control);
}

__attribute__((unused)) static void trial_done(Trial *trial) {
        fd_close(trial->data);
        fd_close(trial->checkpoint);
        fd_close(trial->directory);
}

/* File, checkpoint and report agree on the first size bytes. */
__attribute__((unused)) static void check_holds(const Trial *trial, size_t size) {
        struct stat st;
        CHECK_OK(fstat(trial->data, &st));
        CHECK_INT(st.st_size, size);
        CHECK_INT(trial->ended.bytes, size);
        Digest digest = digest_of_first(size), hashed;
        CHECK(digest_equal(&digest, &trial->ended.digest));
        IngestCheckpoint checkpoint;
        CHECK_INT(pread(trial->checkpoint, &checkpoint, sizeof(checkpoint), 0), sizeof(checkpoint));
        CHECK_INT(checkpoint.state.bytes, size);
        digest_state_finish(&checkpoint.state, &hashed);
        CHECK(digest_equal(&digest, &hashed));
        if (size > 0) {
                void *file = mmap(NULL, size, PROT_READ, MAP_SHARED, trial->data, 0);
                CHECK(file != MAP_FAILED);
                int same = memcmp(file, bytes, size);
                (void) munmap(file, size);
                CHECK(same == 0);
        }
}

__attribute__((unused)) static int trial_bytes(void) {
        size_t size = 40 * MIB;
        bytes = malloc(size);
        if (!bytes)
                return -ENOMEM;
        uint64_t x = 1;
        for (size_t i = 0; i < size; i += 8) {
                x = x * 6364136223846793005U + 1442695040888963407U;
                memcpy(bytes + i, &x, 8);
        }
        return 0;
}
