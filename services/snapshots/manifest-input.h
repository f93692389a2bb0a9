/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A manifest, record by record: however long it is, little of it is in memory. */

#include <stdbool.h>
#include <stddef.h>

#include "lib/digest.h"
#include "services/snapshots/manifest-record.h"

typedef struct ManifestInput {
        int fd;
        int error; /* why no more could be read */
        bool ended;
        char *buffer;
        size_t start, end; /* of what is in it and was not taken */
        DigestState digest;
        Digest expected;
} ManifestInput;

/* Of that tree's directory. 1; 0: there is none that has this digest. Negative: it can't be read. */
int manifest_input_open(ManifestInput *input, int tree, const char *expected);
/* The next record, valid until it is taken; NULL at the end. */
const ManifestRecord *manifest_input_next(ManifestInput *input);
void manifest_input_take(ManifestInput *input);
/* What was read the second time is what was read the first time: 1, 0, or negative. */
int manifest_input_check(ManifestInput *input);
void manifest_input_done(ManifestInput *input);
