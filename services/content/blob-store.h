/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Blobs: verified bytes under their digest, stored once, and seen by those namespaces that have sent them.
 */

#include <stdbool.h>
#include <stdint.h>

#include "lib/digest.h"
#include "services/content/content-state.h"

typedef struct Blob {
        Digest digest;
        uint64_t size;
        uint64_t created; /* microseconds since 1970: when it came into this namespace */
} Blob;

/* -ENOENT if the namespace does not have it. */
int blob_find(ContentState *state, const char *namespace, const Digest *digest, Blob *ret);

/* A descriptor that can only be read; as blob_find(). */
int blob_open(ContentState *state, const char *namespace, const Digest *digest, Blob *ret_blob);

/* Calls visit() in the order of the digests for at most limit blobs behind after (NULL: from the first),
 * until it returns a negative value. 1 if there are more. */
typedef int (*BlobVisit)(const Blob *blob, void *userdata);
int blob_list(ContentState *state, const char *namespace, const Digest *after, uint32_t limit,
              BlobVisit visit, void *userdata);

/* Takes it out of the namespace; the bytes go with the last one. -ENOENT as blob_find(). */
int blob_delete(ContentState *state, const char *namespace, const Digest *digest);

/* The bytes are there, in whatever namespace: 1 or 0. */
int blob_is_stored(ContentState *state, const Digest *digest);

/* The way of new bytes, which are synced, into the store:
 *
 *   1. blob_place() moves the file to its place, where no record names it yet. It gives the directories
 * whose entries changed.
 *   2. The caller has these synced.
 *   3. blob_record() in a transaction of the caller's. When that fails, blob_displace() moves the file back.
 */
#define BLOB_DIRECTORIES_MAX 3
int blob_place(ContentState *state, const Digest *digest, int directory, const char *name,
               int ret_directories[BLOB_DIRECTORIES_MAX], size_t *ret_count);
int blob_displace(ContentState *state, const Digest *digest, int directory, const char *name);
/* Also for a blob that is stored already: the namespace gets it. */
int blob_record(ContentState *state, const char *namespace, const Digest *digest, uint64_t size);

/* See content_state_sweep(). */
int blob_store_sweep(ContentState *state);
