/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/tree-scan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "lib/fd.h"
#include "lib/strv.h"
#include "services/snapshots/directory-names.h"

/* Directories further up are opened again through "..": nobody moves what is below a tree's root out of it.
 */
#define OPEN_MAX ((size_t) 256)
#define DIRECTORY_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

struct TreeScanLevel {
        DirectoryNames names;
        size_t next;
        int fd; /* -EBADF: closed meanwhile */
        dev_t device;
        ino_t inode;
};

static void level_done(TreeScanLevel *level) {
        fd_close(level->fd);
        directory_names_done(&level->names);
}

void tree_scan_done(TreeScan *scan) {
        while (scan->count > 0)
                level_done(&scan->levels[--scan->count]);
        scan->levels = mfree(scan->levels);
}

static int scan_grow(TreeScan *scan) {
        if (scan->count < scan->allocated)
                return 0;
        size_t wanted = scan->allocated > 0 ? scan->allocated * 2 : 32;
        TreeScanLevel *larger = reallocarray(scan->levels, wanted, sizeof(*larger));
        if (!larger)
                return -ENOMEM;
        scan->levels = larger;
        scan->allocated = wanted;
        return 0;
}

/* Takes the descriptor. */
static int scan_push(TreeScan *scan, int fd) {
        TreeScanLevel level = { .fd = fd };
        struct stat st;
        int r = scan_grow(scan);
        if (r >= 0 && fstat(fd, &st) < 0)
                r = -errno;
        if (r >= 0)
                r = directory_names_add(&level.names, fd, 1);
        if (r < 0) {
                level_done(&level);
                return r;
        }
        directory_names_sort(&level.names);
        level.device = st.st_dev;
        level.inode = st.st_ino;
        if (scan->count >= OPEN_MAX) {
                TreeScanLevel *above = &scan->levels[scan->count - OPEN_MAX];
                above->fd = fd_close(above->fd);
        }
        scan->levels[scan->count++] = level;
        return 0;
}

static int scan_pop(TreeScan *scan) {
        TreeScanLevel *level = &scan->levels[--scan->count];
        TreeScanLevel *above = scan->count > 0 ? &scan->levels[scan->count - 1] : NULL;
        struct stat st;
        int r = 0;
        if (above && above->fd < 0) {
                above->fd = openat(level->fd, "..", DIRECTORY_FLAGS);
                if (above->fd < 0 || fstat(above->fd, &st) < 0)
                        r = -errno;
                else if (st.st_dev != above->device || st.st_ino != above->inode)
                        r = -ESTALE;
        }
        level_done(level);
        return r;
}

int tree_scan_init(TreeScan *scan, int root, const char *const *skip) {
        *scan = (TreeScan){ .skip = skip };
        int fd = openat(root, ".", DIRECTORY_FLAGS);
        return fd < 0 ? -errno : scan_push(scan, fd);
}

int tree_scan_directory(const TreeScan *scan) {
        return scan->levels[scan->count - 1].fd;
}

void tree_scan_pass_over(TreeScan *scan) {
        scan->enter = false;
}

/* 1 it is entered, 0 it is gone. */
static int scan_enter(TreeScan *scan) {
        const TreeScanLevel *level = &scan->levels[scan->count - 1];
        scan->enter = false;
        int fd = openat(level->fd, level->names.names[level->next - 1].name, DIRECTORY_FLAGS);
        if (fd < 0)
                return scan->tolerant && (errno == ENOENT || errno == ENOTDIR) ? 0 : -errno;
        int r = scan_push(scan, fd);
        return r < 0 ? r : 1;
}

int tree_scan_next(TreeScan *scan, const char **ret_name, struct stat *ret) {
        int r = scan->enter ? scan_enter(scan) : 0;
        while (r >= 0) {
                TreeScanLevel *level = &scan->levels[scan->count - 1];
                if (level->next == level->names.count) {
                        bool last = scan->count == 1;
                        r = scan_pop(scan);
                        return r < 0 ? r : last ? TREE_SCAN_END : TREE_SCAN_LEAVE;
                }
                const char *name = level->names.names[level->next++].name;
                if (scan->count == 1 && strv_contains(scan->skip, name))
                        continue;
                if (fstatat(level->fd, name, ret, AT_SYMLINK_NOFOLLOW) < 0) {
                        if (scan->tolerant && errno == ENOENT)
                                continue;
                        return -errno;
                }
                scan->enter = S_ISDIR(ret->st_mode);
                *ret_name = name;
                return TREE_SCAN_ENTRY;
        }
        return r;
}

const char *tree_scan_left(const TreeScan *scan) {
        const TreeScanLevel *level = &scan->levels[scan->count - 1];
        return level->names.names[level->next - 1].name;
}

void tree_scan_path(const TreeScan *scan, const char *name, char *buffer, size_t size) {
        size_t at = size - 1, length = strlen(name);
        buffer[at] = '\0';
        for (size_t i = scan->count;; i--) {
                if (length + 1 >= at)
                        break;
                at -= length;
                memcpy(buffer + at, name, length);
                if (i <= 1)
                        break;
                buffer[--at] = '/';
                const TreeScanLevel *above = &scan->levels[i - 2];
                name = above->names.names[above->next - 1].name;
                length = strlen(name);
        }
        memmove(buffer, buffer + at, size - at);
}
