/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A content store in a directory of its own, and blobs for it. */

#include <sys/stat.h>

#include "lib/fd.h"
#include "services/content/blob-store.h"
#include "services/content/blob-sweep.h"
#include "services/content/ingest-store.h"
#include "tests/unit/check-directory.h"
#include "tests/unit/check-fault.h"

/* Each name gives another one. */
static ContentState *sample_state(const char *name) {
        _cleanup_close_ int parent = check_directory();
        (void) mkdirat(parent, name, 0700);
        _cleanup_close_ int directory = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        ContentState *state = NULL;
        CHECK_NO_FAULT(content_state_open(directory, &state, &fault));
        return state;
}

__attribute__((unused)) static Digest sample_digest(const char *text) {
        Digest digest;
        CHECK_OK(digest_of_data(DIGEST_SHA256, text, strlen(text), &digest));
        return digest;
}

__attribute__((unused)) static void sample_file(int directory, const char *name, const char *text) {
        _cleanup_close_ int fd = openat(directory, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        CHECK_OK(fd);
        CHECK_OK(fd_write_all(fd, text, strlen(text)));
}

__attribute__((unused)) static bool sample_exists(int directory, const char *name) {
        struct stat st;
        return fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) >= 0;
}

/* Bytes at their place, without a record. */
__attribute__((unused)) static void sample_place(ContentState *state, const Digest *digest,
                                                 const char *text) {
        BlobPlacing placing;
        sample_file(state->ingests, "new", text);
        CHECK_OK(blob_place(state, digest, state->ingests, "new", &placing));
        blob_placing_done(&placing);
        CHECK_OK(unlinkat(state->ingests, "new", 0));
}

/* As a commit does it. */
__attribute__((unused)) static Digest sample_blob(ContentState *state, const char *namespace,
                                                  const char *text) {
        Digest digest = sample_digest(text);
        if (blob_is_stored(state, &digest) == 0)
                sample_place(state, &digest, text);
        CHECK_OK(blob_record(state, &digest, strlen(text), /* verity= */ false));
        CHECK_OK(blob_grant(state, namespace, &digest));
        return digest;
}

/* All of it at once. */
__attribute__((unused)) static void sample_sweep(ContentState *state) {
        _cleanup_(blob_sweep_freep) BlobSweep *sweep = NULL;
        int r;
        CHECK_OK(ingest_store_sweep(state));
        CHECK_OK(blob_sweep_new(state, &sweep));
        while ((r = blob_sweep_step(sweep)) > 0)
                ;
        CHECK_OK(r);
}

/* Freed by ingest_record_done(). */
__attribute__((unused)) static IngestRecord sample_record(const char *namespace, const char *reference) {
        return (IngestRecord){
                .namespace = strdup(namespace),
                .reference = strdup(reference),
                .digest = { .algorithm = DIGEST_SHA256 },
                .size = INGEST_SIZE_UNKNOWN,
                .at_most = INGEST_SIZE_UNKNOWN,
                .uid = 1000,
        };
}
