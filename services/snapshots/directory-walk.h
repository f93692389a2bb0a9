/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A way through one tree along paths in the order of strcmp(): what is common to a path and the one before
 * is not opened again, so that each directory is opened at most twice, however deep it lies. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/fault.h"

/* Work is counted down, in units of about a tenth of a microsecond. -EBADMSG: there is none left. */
int directory_work_spend(uint64_t *work, uint64_t amount);
/* That in a sentence. */
int directory_work_fault(Fault *fault);

/* What one step takes away from the work at most. */
#define DIRECTORY_WALK_STEP_MAX 128

typedef struct DirectoryLevel {
        size_t end;  /* of its part of the path */
        int fd;      /* or why there is none, and nothing below: -ENOENT, -ENOTDIR, -ELOOP a symbolic link */
        bool opaque; /* it, or one above it: nothing of lower layers shines through */
} DirectoryLevel;

typedef struct DirectoryWalk {
        char *path; /* where it stands */
        DirectoryLevel *levels;
        size_t count;
        size_t allocated;
        uint64_t *work; /* that may still be done; counted down */
} DirectoryWalk;

/* Takes the root's descriptor. */
int directory_walk_init(DirectoryWalk *walk, int root, uint64_t *work);
void directory_walk_done(DirectoryWalk *walk);

/* The directory that path names; borrowed, valid until the next call. Its fd tells whether there is one.
 * Negative: -EBADMSG that was too much work, or what else went wrong. */
int directory_walk_to(DirectoryWalk *walk, const char *path, const DirectoryLevel **ret);
/* The one above that. */
const DirectoryLevel *directory_walk_parent(const DirectoryWalk *walk);
/* Nothing of lower layers shines through it any more. */
int directory_walk_set_opaque(DirectoryWalk *walk);
