/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/directory-cache.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "lib/fd.h"
#include "lib/macros.h"
#include "lib/path.h"

void directory_cache_init(DirectoryCache *cache, int root) {
        *cache = (DirectoryCache){ .root = root };
        for (size_t i = 0; i < DIRECTORY_CACHE_SIZE; i++)
                cache->items[i].fd = -EBADF;
}

static void item_clear(DirectoryCacheItem *item) {
        item->path = mfree(item->path);
        item->fd = fd_close(item->fd);
        item->used = 0;
}

void directory_cache_forget(DirectoryCache *cache, const char *path) {
        size_t length = strlen(path);
        for (size_t i = 0; i < DIRECTORY_CACHE_SIZE; i++) {
                DirectoryCacheItem *item = &cache->items[i];
                if (item->path && item->length >= length && memcmp(item->path, path, length) == 0 &&
                    (item->length == length || item->path[length] == '/'))
                        item_clear(item);
        }
}

void directory_cache_done(DirectoryCache *cache) {
        for (size_t i = 0; i < DIRECTORY_CACHE_SIZE; i++)
                item_clear(&cache->items[i]);
}

/* The item for the longest known directory that path is, or lies in. */
static DirectoryCacheItem *cache_find(DirectoryCache *cache, const char *path, size_t length) {
        DirectoryCacheItem *best = NULL;
        for (size_t i = 0; i < DIRECTORY_CACHE_SIZE; i++) {
                DirectoryCacheItem *item = &cache->items[i];
                if (item->path && item->length <= length && memcmp(item->path, path, item->length) == 0 &&
                    (item->length == length || path[item->length] == '/') &&
                    (!best || item->length > best->length))
                        best = item;
        }
        if (best)
                best->used = ++cache->clock;
        return best;
}

static DirectoryCacheItem *cache_oldest(DirectoryCache *cache) {
        DirectoryCacheItem *oldest = &cache->items[0];
        for (size_t i = 1; i < DIRECTORY_CACHE_SIZE; i++)
                if (cache->items[i].used < oldest->used)
                        oldest = &cache->items[i];
        return oldest;
}

int directory_cache_open(DirectoryCache *cache, const char *path, size_t length) {
        if (length == 0)
                return cache->root;
        DirectoryCacheItem *found = cache_find(cache, path, length);
        if (found && found->length == length)
                return found->fd;

        size_t skip = found ? found->length + 1 : 0;
        _cleanup_free_ char *copy = strndup(path, length);
        if (!copy)
                return -ENOMEM;
        int fd = path_open(found ? found->fd : cache->root, copy + skip, O_PATH | O_DIRECTORY | O_NOFOLLOW,
                           0, PATH_BENEATH);
        if (fd < 0)
                return fd;

        DirectoryCacheItem *item = cache_oldest(cache);
        item_clear(item);
        *item = (DirectoryCacheItem){
                .path = TAKE_PTR(copy), .length = length, .fd = fd, .used = ++cache->clock
        };
        return fd;
}
