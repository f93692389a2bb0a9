/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/trash.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "services/snapshots/btrfs-subvolume.h"
#include "services/snapshots/directory-stream.h"

#define NAME_ATTEMPTS 64
#define STAT_BLOCK 512U

typedef struct Trash {
        int fd;
        unsigned long long next_name;
        TrashEmptied removed;
        bool progress; /* something was removed in this round */
        int error;     /* the first of this round */
} Trash;

static void trash_note(Trash *trash, int error) {
        if (trash->error >= 0)
                trash->error = error;
}

/* A directory within a directory becomes one of the trash, to be emptied in its turn: no tree is too deep.
 */
static void trash_lift(Trash *trash, int parent, const char *name) {
        char target[32];
        for (unsigned i = 0; i < NAME_ATTEMPTS; i++) {
                (void) snprintf(target, sizeof(target), "+%llu", trash->next_name++);
                if (renameat2(parent, name, trash->fd, target, RENAME_NOREPLACE) >= 0)
                        return;
                if (errno != EEXIST)
                        break;
        }
        trash_note(trash, -errno);
}

/* Of several names the last one frees it. */
static void trash_count(Trash *trash, const struct stat *st) {
        if (st->st_nlink > 1 && !S_ISDIR(st->st_mode))
                return;
        trash->removed.inodes++;
        trash->removed.size += (uint64_t) st->st_blocks * STAT_BLOCK;
}

/* Whatever can go in one step: a file, an empty directory, a subvolume with all that is in it. */
static int try_to_remove(int parent, const char *name) {
        if (unlinkat(parent, name, 0) >= 0)
                return 0;
        if (errno != EISDIR && errno != EPERM)
                return -errno;
        if (unlinkat(parent, name, AT_REMOVEDIR) >= 0 || btrfs_subvolume_delete(parent, name) >= 0)
                return 0;
        return -EISDIR;
}

static int remove_at_once(Trash *trash, int parent, const char *name) {
        struct stat st;
        bool known = fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) >= 0;
        int r = try_to_remove(parent, name);
        if (r >= 0 && known)
                trash_count(trash, &st);
        return r;
}

static DIR *open_stream(int parent, const char *name) {
        int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
        if (!stream)
                fd_close(fd);
        return stream;
}

static void trash_empty_directory(Trash *trash, const char *name) {
        DIR *stream = open_stream(trash->fd, name);
        if (!stream) {
                trash_note(trash, -errno);
                return;
        }
        const char *inside;
        int end;
        while ((end = directory_stream_next(stream, &inside)) > 0) {
                int r = remove_at_once(trash, dirfd(stream), inside);
                if (r == -EISDIR)
                        trash_lift(trash, dirfd(stream), inside);
                else if (r < 0)
                        trash_note(trash, r);
                trash->progress = trash->progress || r >= 0;
        }
        (void) closedir(stream);
        if (end < 0)
                trash_note(trash, end);
        int r = remove_at_once(trash, trash->fd, name);
        if (r < 0)
                trash_note(trash, r);
        trash->progress = trash->progress || r >= 0;
}

static int trash_round(Trash *trash) {
        DIR *stream = open_stream(trash->fd, ".");
        if (!stream)
                return -errno;
        const char *name;
        int r;
        while ((r = directory_stream_next(stream, &name)) > 0) {
                if (remove_at_once(trash, trash->fd, name) >= 0)
                        trash->progress = true;
                else
                        trash_empty_directory(trash, name);
        }
        (void) closedir(stream);
        return r;
}

int trash_empty(int fd, TrashEmptied *ret, Fault *fault) {
        Trash trash = { .fd = fd };
        do {
                trash.error = 0;
                trash.progress = false;
                int r = trash_round(&trash);
                if (r < 0)
                        return fault_set_errno(fault, r, "Can't read the trash");
        } while (trash.progress);
        *ret = trash.removed;
        return trash.error < 0 ? fault_set_errno(fault, trash.error, "Can't empty the trash") : 0;
}
