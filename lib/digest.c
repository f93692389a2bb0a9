/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The low-level SHA functions are deprecated in OpenSSL 3, but theirs is the only state that can be written
 * to disk and taken up again; EVP hides it. They run the same code for the CPU at hand (SHA-NI). */
#define OPENSSL_SUPPRESS_DEPRECATED

#include "lib/digest.h"

#include <errno.h>
#include <openssl/sha.h>
#include <string.h>

#include "lib/strv.h"

static const char *const algorithm_names[] = {
        [DIGEST_SHA256] = "sha256",
        [DIGEST_SHA512] = "sha512",
};

static const size_t algorithm_sizes[] = {
        [DIGEST_SHA256] = SHA256_DIGEST_LENGTH,
        [DIGEST_SHA512] = SHA512_DIGEST_LENGTH,
};

static_assert(sizeof(SHA256_CTX) <= sizeof(((DigestState *) NULL)->context), "room for the state");
static_assert(sizeof(SHA512_CTX) <= sizeof(((DigestState *) NULL)->context), "room for the state");

const char *digest_algorithm_to_string(DigestAlgorithm algorithm) {
        assert(algorithm >= 0 && algorithm < _DIGEST_ALGORITHM_MAX);
        return algorithm_names[algorithm];
}

DigestAlgorithm digest_algorithm_from_string(const char *name) {
        return string_table_find(algorithm_names, ELEMENTS_OF(algorithm_names), name);
}

size_t digest_algorithm_size(DigestAlgorithm algorithm) {
        assert(algorithm >= 0 && algorithm < _DIGEST_ALGORITHM_MAX);
        return algorithm_sizes[algorithm];
}

/* image-spec, descriptor.md: algorithm ::= component (separator component)*. NULL if it is not one, else
 * what follows the colon. */
static const char *after_algorithm(const char *string) {
        bool in_component = false;
        for (; *string; string++) {
                bool component = (*string >= 'a' && *string <= 'z') || (*string >= '0' && *string <= '9');
                if (*string == ':')
                        return in_component ? string + 1 : NULL;
                if (!component && (!in_component || !strchr("+._-", *string)))
                        return NULL;
                in_component = component;
        }
        return NULL;
}

static int hex_value(char c) {
        return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -EINVAL;
}

static bool is_encoded(const char *string) {
        for (const char *p = string; *p; p++)
                if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') ||
                      strchr("=_-", *p)))
                        return false;
        return string[0] != '\0';
}

int digest_parse(const char *string, Digest *ret) {
        const char *encoded = string ? after_algorithm(string) : NULL;
        if (!encoded || !is_encoded(encoded))
                return -EINVAL;

        char name[16];
        size_t name_size = (size_t) (encoded - string) - 1;
        if (name_size >= sizeof(name))
                return -EOPNOTSUPP;
        memcpy(name, string, name_size);
        name[name_size] = '\0';

        Digest digest = { .algorithm = digest_algorithm_from_string(name) };
        if (digest.algorithm < 0)
                return -EOPNOTSUPP;
        size_t size = algorithm_sizes[digest.algorithm];
        if (strlen(encoded) != 2 * size)
                return -EINVAL;
        for (size_t i = 0; i < size; i++) {
                int high = hex_value(encoded[2 * i]), low = hex_value(encoded[2 * i + 1]);
                if (high < 0 || low < 0)
                        return -EINVAL;
                digest.raw[i] = (uint8_t) (high << 4 | low);
        }
        *ret = digest;
        return 0;
}

const char *digest_to_hex(const Digest *digest, char buffer[DIGEST_STRING_MAX]) {
        size_t size = digest_algorithm_size(digest->algorithm);
        for (size_t i = 0; i < size; i++) {
                buffer[2 * i] = "0123456789abcdef"[digest->raw[i] >> 4];
                buffer[2 * i + 1] = "0123456789abcdef"[digest->raw[i] & 15];
        }
        buffer[2 * size] = '\0';
        return buffer;
}

const char *digest_to_string(const Digest *digest, char buffer[DIGEST_STRING_MAX]) {
        const char *name = digest_algorithm_to_string(digest->algorithm);
        size_t n = strlen(name);
        char hex[DIGEST_STRING_MAX];
        digest_to_hex(digest, hex);
        memcpy(buffer, name, n);
        buffer[n] = ':';
        memcpy(buffer + n + 1, hex, strlen(hex) + 1);
        return buffer;
}

bool digest_equal(const Digest *a, const Digest *b) {
        return a->algorithm == b->algorithm &&
               memcmp(a->raw, b->raw, digest_algorithm_size(a->algorithm)) == 0;
}

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

int digest_of_data(DigestAlgorithm algorithm, const void *data, size_t size, Digest *ret) {
        DigestState state;
        int r = digest_state_init(&state, algorithm);
        if (r < 0)
                return r;
        digest_state_update(&state, data, size);
        digest_state_finish(&state, ret);
        return 0;
}

int digest_chain_id(const Digest *parent, const Digest *diff_id, Digest *ret) {
        if (!parent) {
                *ret = *diff_id;
                return 0;
        }
        DigestState state;
        char buffer[DIGEST_STRING_MAX];
        int r = digest_state_init(&state, DIGEST_SHA256);
        if (r < 0)
                return r;
        digest_to_string(parent, buffer);
        digest_state_update(&state, buffer, strlen(buffer));
        digest_state_update(&state, " ", 1);
        digest_to_string(diff_id, buffer);
        digest_state_update(&state, buffer, strlen(buffer));
        digest_state_finish(&state, ret);
        return 0;
}
