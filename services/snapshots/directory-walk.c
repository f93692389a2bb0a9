/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/directory-walk.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/fd.h"
#include "lib/macros.h"
#include "lib/path.h"
#include "services/snapshots/tree-attributes.h"

#define LEVELS_FIRST ((size_t) 64)
#define WORK_OF_DIRECTORY 16
#define WORK_OF_PATH(length) (1 + (length) / 64)
static_assert(WORK_OF_PATH(PATH_MAX) < DIRECTORY_WALK_STEP_MAX, "a step is at most that much work");

int directory_walk_init(DirectoryWalk *walk, int root, uint64_t *work) {
        *walk = (DirectoryWalk){ .allocated = LEVELS_FIRST, .work = work };
        walk->path = calloc(1, PATH_MAX);
        walk->levels = calloc(LEVELS_FIRST, sizeof(*walk->levels));
        if (!walk->path || !walk->levels) {
                fd_close(root);
                directory_walk_done(walk);
                return -ENOMEM;
        }
        walk->levels[walk->count++] = (DirectoryLevel){ .fd = root, .opaque = tree_is_opaque(root) };
        return 0;
}

void directory_walk_done(DirectoryWalk *walk) {
        while (walk->count > 0)
                fd_close(walk->levels[--walk->count].fd);
        free(walk->path);
        free(walk->levels);
        *walk = (DirectoryWalk){ 0 };
}

int directory_work_spend(uint64_t *work, uint64_t amount) {
        if (*work < amount) {
                *work = 0;
                return -EBADMSG;
        }
        *work -= amount;
        return 0;
}

int directory_work_fault(Fault *fault) {
        return fault_set(fault, -EBADMSG,
                         "The layer has more directories that it does not describe, and in "
                         "greater depth, than can be handled");
}

/* Up, to the last directory that is on the way to path. */
static void walk_leave(DirectoryWalk *walk, const char *path) {
        size_t common = 0;
        while (path[common] && path[common] == walk->path[common])
                common++;
        while (walk->count > 1) {
                size_t end = walk->levels[walk->count - 1].end;
                if (end <= common && (path[end] == '/' || path[end] == '\0'))
                        break;
                fd_close(walk->levels[--walk->count].fd);
        }
}

/* -ENOTDIR where something else is, -ELOOP if that is a symbolic link. */
static int open_part(int at, const char *name) {
        struct stat st;
        int fd = path_open(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, PATH_BENEATH);
        if (fd != -ENOTDIR && fd != -ELOOP)
                return fd;
        if (fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        return S_ISLNK(st.st_mode) ? -ELOOP : -ENOTDIR;
}

/* Down, by the part of the path that ends at end. */
static int walk_enter(DirectoryWalk *walk, size_t end) {
        if (walk->count == walk->allocated) {
                DirectoryLevel *larger = reallocarray(walk->levels, walk->allocated * 2, sizeof(*larger));
                if (!larger)
                        return -ENOMEM;
                walk->levels = larger;
                walk->allocated *= 2;
        }
        const DirectoryLevel *at = &walk->levels[walk->count - 1];
        char next = walk->path[end];
        walk->path[end] = '\0';
        int fd = open_part(at->fd, walk->path + (at->end > 0 ? at->end + 1 : 0));
        walk->path[end] = next;
        if (fd < 0 && fd != -ENOENT && fd != -ENOTDIR && fd != -ELOOP)
                return fd;
        walk->levels[walk->count++] = (DirectoryLevel){
                .end = end, .fd = fd, .opaque = at->opaque || (fd >= 0 && tree_is_opaque(fd))
        };
        return 0;
}

int directory_walk_to(DirectoryWalk *walk, const char *path, const DirectoryLevel **ret) {
        size_t length = strnlen(path, PATH_MAX);
        if (length >= PATH_MAX)
                return -ENAMETOOLONG;
        int r = directory_work_spend(walk->work, WORK_OF_PATH(length));
        if (r < 0)
                return r;
        walk_leave(walk, path);
        memcpy(walk->path, path, length + 1);
        for (;;) {
                const DirectoryLevel *at = &walk->levels[walk->count - 1];
                if (at->fd < 0 || at->end == length) {
                        *ret = at;
                        return 0;
                }
                size_t start = at->end > 0 ? at->end + 1 : 0;
                r = directory_work_spend(walk->work, WORK_OF_DIRECTORY);
                if (r >= 0)
                        r = walk_enter(walk, start + strcspn(path + start, "/"));
                if (r < 0)
                        return r;
        }
}

const DirectoryLevel *directory_walk_parent(const DirectoryWalk *walk) {
        return &walk->levels[walk->count > 1 ? walk->count - 2 : 0];
}

int directory_walk_set_opaque(DirectoryWalk *walk) {
        DirectoryLevel *at = &walk->levels[walk->count - 1];
        int r = tree_set_opaque(at->fd);
        at->opaque = at->opaque || r >= 0;
        return r;
}
