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
        uint64_t updated; /* when its labels were last changed, or when it came */
        uint64_t damaged; /* when its bytes were found to be others than they were; 0: they are right */
        bool verity;      /* the kernel checks what is read (fs-verity) */
} Blob;

/* -ENOENT if the namespace does not have it. */
int blob_find(ContentState *state, const char *namespace, const Digest *digest, Blob *ret);

/* A descriptor that can only be read; as blob_find(). -EUCLEAN: it is damaged, or is found to be so. */
int blob_open(ContentState *state, const char *namespace, const Digest *digest, Blob *ret_blob);

/* Calls visit() for the blobs behind after (a digest's text; "": from the first) in the order of the
 * digests, until it returns something else than 0, and returns that. Nothing may be written meanwhile. */
typedef int (*BlobVisit)(const Blob *blob, void *userdata);
int blob_visit(ContentState *state, const char *namespace, const char *after, BlobVisit visit,
               void *userdata);

/* Changes its labels (content-labels.h). -ENOENT as blob_find(). */
int blob_update(ContentState *state, const char *namespace, const Digest *digest, char *const *labels,
                bool replace, Fault *fault);

/* Takes it out of the namespace; the bytes go with the last one. -ENOENT as blob_find(). */
int blob_delete(ContentState *state, const char *namespace, const Digest *digest);
/* The same for many with one sync: what is not there is passed over. How many there were, and the bytes that
 * went with them. All of them or none. */
typedef struct BlobToDelete {
        char *namespace;
        Digest digest;
        bool last; /* meanwhile: no namespace has it any longer */
} BlobToDelete;
int blob_delete_many(ContentState *state, BlobToDelete blobs[], size_t count, uint32_t *ret_gone,
                     uint64_t *ret_bytes);

/* The bytes are there and, as far as their record and a look at the file tell, right, in whatever namespace:
 * 1 or 0. What is found to be damaged is marked. */
int blob_is_stored(ContentState *state, const Digest *digest);
/* A record names them, right or damaged: 1 or 0. */
int blob_is_recorded(ContentState *state, const Digest *digest);

/* They are not served any longer, in no namespace, until they are ingested again. 0 if that is known
 * already, or there is no such blob. */
int blob_mark_damaged(ContentState *state, const Digest *digest, const char *why);

/* The file of a record has its size, and fs-verity if that is recorded. */
bool blob_file_is_right(ContentState *state, const Digest *digest, uint64_t size, bool verity);

/* Nobody needs to write to it any more. */
int blob_make_read_only(ContentState *state, const Digest *digest);
/* fs-verity is enabled by somebody who may write to the file: its owner, between these two. Killed in
 * between, it is made read-only again when it is next opened. -EBUSY: it was begun already, and has not
 * ended. */
typedef struct BlobSealing {
        struct BlobSealing *next;
        Digest digest;
} BlobSealing;
int blob_begin_sealing(ContentState *state, BlobSealing *sealing, const Digest *digest);
/* same: the file is still the one that it was. */
void blob_end_sealing(ContentState *state, BlobSealing *sealing, bool same);
/* The file has fs-verity from now on. */
int blob_mark_verity(ContentState *state, const Digest *digest);

/* For reading, whoever has it and whatever is known of it. */
int blob_open_file(ContentState *state, const Digest *digest);

/* The way of new bytes, which are synced, into the store:
 *
 *   1. blob_place() links the file to its place, where no record names it yet, or that of damaged bytes
 * does. It gives the directories whose entries changed: those above, too, until all that were made there
 * are known to be on the disk, whoever has made them.
 *   2. The caller has these synced, and says so (blob_note_synced()).
 *   3. blob_record() and blob_grant() in a transaction of the caller's. When that fails, blob_displace()
 * takes the link away.
 *   4. The caller removes the file's old name: until there is a record, that is what keeps the bytes.
 */
#define BLOB_DIRECTORIES_MAX 3
typedef struct BlobPlacing {
        int directories[BLOB_DIRECTORIES_MAX];
        size_t count;
        DigestAlgorithm algorithm;
        uint64_t made; /* ContentDirectories */
} BlobPlacing;
int blob_place(ContentState *state, const Digest *digest, int directory, const char *name, BlobPlacing *ret);
/* Closes the directories. */
void blob_placing_done(BlobPlacing *placing);
void blob_note_synced(ContentState *state, const BlobPlacing *placing);
int blob_displace(ContentState *state, const Digest *digest);
int blob_record(ContentState *state, const Digest *digest, uint64_t size, bool verity);

/* The namespace gets what is recorded. 1 if it did not have it; if it did, it is as young as what came now,
 * for the collection. */
int blob_grant(ContentState *state, const char *namespace, const Digest *digest);
/* As blob_grant() of what it has, for who only asks. It costs no sync, and a loss of power may take it back.
 */
void blob_renew(ContentState *state, const char *namespace, const Digest *digest);

/* The namespace gets it without sending it, if the bytes are right and some namespace that has it shares it
 * (by the blob's label, or all that it has). 1 and it is granted, 0 and not. -EDQUOT if it has more bytes
 * than there is room for, or the namespace as many blobs as it may have. */
int blob_grant_shared(ContentState *state, const char *namespace, const Digest *digest, uint64_t room,
                      Fault *fault);
