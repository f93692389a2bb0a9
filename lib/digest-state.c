/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Only what OpenSSL's states look like, nothing of OpenSSL. */
#define OPENSSL_SUPPRESS_DEPRECATED

#include <openssl/sha.h>

#include "lib/digest.h"

/* What is checked beyond the version is what would make OpenSSL write outside the state. */
bool digest_state_is_usable(const DigestState *state) {
        if (state->version != DIGEST_STATE_VERSION)
                return false;
        if (state->algorithm == DIGEST_SHA256) {
                const SHA256_CTX *context = (const SHA256_CTX *) state->context;
                return context->md_len == SHA256_DIGEST_LENGTH &&
                       context->num == state->bytes % SHA256_CBLOCK;
        }
        if (state->algorithm == DIGEST_SHA512) {
                const SHA512_CTX *context = (const SHA512_CTX *) state->context;
                return context->md_len == SHA512_DIGEST_LENGTH &&
                       context->num == state->bytes % SHA512_CBLOCK;
        }
        return false;
}
