/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a layer may be made of, as whoever has it unpacked says. */

#include <stdbool.h>
#include <stdint.h>

/* Zeros: what lib/limits.h says, and no labels. */
typedef struct LayerRules {
        uint64_t size_max;    /* of the uncompressed archive, and of the files with their holes */
        uint64_t entries_max; /* with the directories that are made on the way */
        uint64_t work_max;    /* parts of paths that are walked to find directories */
        bool keep_labels;     /* of security modules (security.selinux): else they are left out */
} LayerRules;
