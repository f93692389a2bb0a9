/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The low-level SHA functions are deprecated in OpenSSL 3, but theirs is the only state that can be written
 * to disk and taken up again; EVP hides it. They run the same code for the CPU at hand (SHA-NI). */
#define OPENSSL_SUPPRESS_DEPRECATED

#include <errno.h>
#include <openssl/sha.h>
#include <string.h>

#include "lib/digest.h"

static_assert(sizeof(SHA256_CTX) <= sizeof(((DigestState *) NULL)->context), "room for the state");
static_assert(sizeof(SHA512_CTX) <= sizeof(((DigestState *) NULL)->context), "room for the state");

int digest_state_init(DigestState *state, DigestAlgorithm algorithm) {
        if (algorithm < 0 || algorithm >= _DIGEST_ALGORITHM_MAX)
                return -EOPNOTSUPP;
        *state = (DigestState){ .version = DIGEST_STATE_VERSION, .algorithm = (uint32_t) algorithm };
        int ok = algorithm == DIGEST_SHA256 ? SHA256_Init((SHA256_CTX *) state->context)
                                            : SHA512_Init((SHA512_CTX *) state->context);
        return ok ? 0 : -EIO;
}

void digest_state_update(DigestState *state, const void *data, size_t size) {
        if (size == 0)
                return;
        if (state->algorithm == DIGEST_SHA256)
                (void) SHA256_Update((SHA256_CTX *) state->context, data, size);
        else
                (void) SHA512_Update((SHA512_CTX *) state->context, data, size);
        state->bytes += size;
}

void digest_state_finish(const DigestState *state, Digest *ret) {
        DigestState last = *state; /* padding goes into the copy */
        *ret = (Digest){ .algorithm = (DigestAlgorithm) state->algorithm };
        if (state->algorithm == DIGEST_SHA256)
                (void) SHA256_Final(ret->raw, (SHA256_CTX *) last.context);
        else
                (void) SHA512_Final(ret->raw, (SHA512_CTX *) last.context);
}

int digest_of_data(DigestAlgorithm algorithm, const void *data, size_t size, Digest *ret) {
        DigestState state;
        int r = digest_state_init(&state, algorithm);
        if (r < 0)
                return r;
        digest_state_update(&state, data, size);
        digest_state_finish(&state, ret);
        return 0;
}
