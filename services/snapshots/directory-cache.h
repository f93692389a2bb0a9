/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A few open directories below a root, by path: archives are written directory by directory, so the parent
 * of an entry is nearly always the parent of the one before. No path is followed through a symbolic link. */

#include <stddef.h>
#include <stdint.h>

#define DIRECTORY_CACHE_SIZE 16

typedef struct DirectoryCacheItem {
        char *path;
        size_t length;
        int fd; /* O_PATH */
        uint64_t used;
} DirectoryCacheItem;

typedef struct DirectoryCache {
        int root; /* borrowed */
        uint64_t clock;
        DirectoryCacheItem items[DIRECTORY_CACHE_SIZE];
} DirectoryCache;

void directory_cache_init(DirectoryCache *cache, int root);
void directory_cache_done(DirectoryCache *cache);

/* The directory that the first length bytes of path name. The descriptor is the cache's, valid until the
 * next call. Outcomes: -ENOENT it is not there, -ENOTDIR or -ELOOP something on the way is no directory. */
int directory_cache_open(DirectoryCache *cache, const char *path, size_t length);

/* That directory is gone, with all below it. */
void directory_cache_forget(DirectoryCache *cache, const char *path);
