/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/digest.h"

#include <errno.h>
#include <string.h>

#include "lib/strv.h"

static const char *const algorithm_names[] = {
        [DIGEST_SHA256] = "sha256",
        [DIGEST_SHA512] = "sha512",
};

static const size_t algorithm_sizes[] = {
        [DIGEST_SHA256] = 32,
        [DIGEST_SHA512] = 64,
};

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
