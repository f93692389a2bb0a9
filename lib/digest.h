/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* OCI digests ("sha256:<hex>", image-spec descriptor.md) and incremental hashing whose state can be saved
 * and restored, so that an interrupted ingest goes on without hashing again. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/macros.h"

typedef enum DigestAlgorithm {
        DIGEST_SHA256,
        DIGEST_SHA512,
        _DIGEST_ALGORITHM_MAX,
        _DIGEST_ALGORITHM_INVALID = -22,
} DigestAlgorithm;

#define DIGEST_RAW_MAX 64
#define DIGEST_STRING_MAX (7 + 128 + 1) /* "sha512:" + hex + NUL */

typedef struct Digest {
        DigestAlgorithm algorithm;
        uint8_t raw[DIGEST_RAW_MAX];
} Digest;

const char *digest_algorithm_to_string(DigestAlgorithm algorithm);
DigestAlgorithm digest_algorithm_from_string(const char *name);
size_t digest_algorithm_size(DigestAlgorithm algorithm);

/* -EINVAL for bad syntax (lower-case hexadecimal only), -EOPNOTSUPP for an algorithm that crt does not know.
 */
int digest_parse(const char *string, Digest *ret);
const char *digest_to_string(const Digest *digest, char buffer[DIGEST_STRING_MAX]);
/* The part after "sha256:". */
const char *digest_to_hex(const Digest *digest, char buffer[DIGEST_STRING_MAX]);
bool digest_equal(const Digest *a, const Digest *b);

/* Plain data: may be copied, written to disk and read back by the same build of crt. */
typedef struct DigestState {
        uint32_t version; /* DIGEST_STATE_VERSION: a state of another build is refused by
                             digest_state_is_usable() */
        uint32_t algorithm;
        uint64_t bytes; /* hashed so far */
        uint64_t context[32];
} DigestState;

#define DIGEST_STATE_VERSION 1U

int digest_state_init(DigestState *state, DigestAlgorithm algorithm);
void digest_state_update(DigestState *state, const void *data, size_t size);
/* The digest of what was hashed so far; the state stays usable. */
void digest_state_finish(const DigestState *state, Digest *ret);
bool digest_state_is_usable(const DigestState *state);

/* One go. */
int digest_of_data(DigestAlgorithm algorithm, const void *data, size_t size, Digest *ret);

/* SHA-256 of little, and without OpenSSL: for daemons (lib/sha256.h). */
void digest_of_short(const void *data, size_t size, Digest *ret);

/* OCI image-spec config.md, "Layer ChainID": chain of parent and diff; parent NULL for the lowest layer. */
void digest_chain_id(const Digest *parent, const Digest *diff_id, Digest *ret);
