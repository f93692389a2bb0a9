/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdio.h>
#include <string.h>

#include "lib/digest.h"
#include "lib/sha256.h"

void digest_of_short(const void *data, size_t size, Digest *ret) {
        memset(ret, 0, sizeof(*ret));
        ret->algorithm = DIGEST_SHA256;
        sha256_of_data(data, size, ret->raw);
}

void digest_chain_id(const Digest *parent, const Digest *diff_id, Digest *ret) {
        char upper[DIGEST_STRING_MAX], lower[DIGEST_STRING_MAX], text[2 * DIGEST_STRING_MAX];
        if (!parent) {
                *ret = *diff_id;
                return;
        }
        int n = snprintf(text, sizeof(text), "%s %s", digest_to_string(parent, lower),
                         digest_to_string(diff_id, upper));
        digest_of_short(text, (size_t) n, ret);
}
