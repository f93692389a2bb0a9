/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Compares a committed tree with the manifest that was made when it was committed. */

#include <stdint.h>

#include "lib/fault.h"

#define TREE_DAMAGE_SIZE 900

typedef struct TreeDamage {
        uint64_t count;               /* of files that are not what they were; 0: all is well */
        char first[TREE_DAMAGE_SIZE]; /* a sentence about the first of them */
        uint64_t bytes;               /* that were read */
} TreeDamage;

typedef struct TreeVerifySpec {
        int trees;
        int64_t id;
        const char *manifest;                /* the digest that its file must have */
        int sample;                          /* of the same disk: lib/disk-sample.h */
        void (*on_progress)(uint64_t bytes); /* NULL, or told how many bytes were read */
} TreeVerifySpec;

int tree_verify(const TreeVerifySpec *spec, TreeDamage *ret, Fault *fault);
