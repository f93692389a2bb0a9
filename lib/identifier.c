/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/identifier.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "lib/limits.h"
#include "lib/macros.h"

#define SNAPSHOT_KEY_MAX 255
#define RANDOM_LENGTH_MAX 32

/* Not isalnum(): that depends on the locale. */
static bool is_alphanumeric(char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool identifier_is_valid(const char *identifier) {
        if (!identifier)
                return false;
        bool after_alphanumeric = false;
        size_t i;
        for (i = 0; identifier[i]; i++) {
                bool alphanumeric = is_alphanumeric(identifier[i]);
                if (i >= LIMIT_IDENTIFIER_LENGTH)
                        return false;
                if (!alphanumeric && (!after_alphanumeric || !strchr("._-", identifier[i])))
                        return false;
                after_alphanumeric = alphanumeric;
        }
        return after_alphanumeric;
}

bool snapshot_key_is_valid(const char *key) {
        if (!key)
                return false;
        size_t i;
        for (i = 0; key[i]; i++)
                if (i >= SNAPSHOT_KEY_MAX || key[i] <= ' ' || key[i] > '~')
                        return false;
        return i > 0 && key[0] != '/' && key[i - 1] != '/';
}

int identifier_new_random(size_t length, char **ret) {
        uint8_t random[RANDOM_LENGTH_MAX / 2];
        assert(length > 0 && length <= RANDOM_LENGTH_MAX);

        /* Up to 256 bytes come whole or not at all, once the source is initialized. */
        ssize_t n;
        do
                n = getrandom(random, sizeof(random), 0);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return -errno;
        if ((size_t) n != sizeof(random))
                return -EIO;

        char *identifier = malloc(length + 1);
        if (!identifier)
                return -ENOMEM;
        for (size_t i = 0; i < length; i++)
                identifier[i] = "0123456789abcdef"[(random[i / 2] >> (i % 2 ? 0 : 4)) & 15];
        identifier[length] = '\0';
        *ret = identifier;
        return 0;
}

const char *namespace_of_uid(uid_t uid, char buffer[NAMESPACE_SIZE]) {
        if (uid == 0)
                (void) snprintf(buffer, NAMESPACE_SIZE, "system");
        else
                (void) snprintf(buffer, NAMESPACE_SIZE, "u%u", uid);
        return buffer;
}
