/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The names in a directory, or in several that are compared, in the order of their bytes. */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "lib/macros.h"

typedef struct DirectoryName {
        const char *name;   /* in the text of its list */
        unsigned in;        /* bits: the directories that have it */
        unsigned char type; /* DT_…; DT_UNKNOWN if it differs */
} DirectoryName;

typedef struct DirectoryNames {
        DirectoryName *names;
        size_t count, allocated;
        char **blocks; /* what the names lie in */
        size_t block_count, block_used;
} DirectoryNames;

/* Adds what is in the directory, with that bit. The descriptor stays the caller's. */
int directory_names_add(DirectoryNames *names, int directory, unsigned bit);
/* In order; each name once, with the bits of all. */
void directory_names_sort(DirectoryNames *names);
void directory_names_done(DirectoryNames *names);
