/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/tree-copy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/identifier.h"
#include "lib/path.h"
#include "services/snapshots/file-copy.h"
#include "services/snapshots/space-reserve.h"
#include "services/snapshots/tree-attributes.h"

/* Each level takes two descriptors of the service's limit. A container can make deeper ones. */
#define DEPTH_MAX 4000
#define LINKS_NAME_SIZE 40
#define WHITEOUT_DEVICE makedev(0, 0)

typedef struct CopyLevel {
        DIR *from;
        int to;
        char *name; /* for sentences */
} CopyLevel;

typedef struct CopyRun {
        const TreeCopy *copy;
        CopyLevel *levels;
        size_t count;
        size_t allocated;
        /* Files with several names: the first of each is kept under its number in a directory of its own,
         * which goes at the end. It is within the tree, as a link can't leave a subvolume. */
        int links;
        char links_name[LINKS_NAME_SIZE];
} CopyRun;

static int entry_fault(const CopyRun *run, const char *name, int r, Fault *fault) {
        const char *directory = run->count > 0 ? run->levels[run->count - 1].name : "";
        if (r == -ENOSPC || r == -EDQUOT)
                return fault_set(fault, -ENOSPC, "No space left to copy the snapshot");
        return fault_set_errno(fault, r, "Can't copy '%s%s%s'", directory, directory[0] ? "/" : "", name);
}

/* ---- levels ---- */

/* Takes both descriptors. */
static int level_push(CopyRun *run, int from, int to, const char *name) {
        if (run->count == run->allocated) {
                size_t larger = run->allocated > 0 ? run->allocated * 2 : 64;
                CopyLevel *levels = reallocarray(run->levels, larger, sizeof(*levels));
                if (!levels)
                        goto no_memory;
                run->levels = levels;
                run->allocated = larger;
        }
        CopyLevel *level = &run->levels[run->count];
        *level = (CopyLevel){ .from = fdopendir(from), .to = to, .name = strdup(name) };
        if (level->from && level->name) {
                run->count++;
                return 0;
        }
        free(level->name);
        if (level->from) {
                (void) closedir(level->from);
                from = -EBADF;
        }
no_memory:
        fd_close(from);
        fd_close(to);
        return -ENOMEM;
}

static void level_pop(CopyRun *run) {
        CopyLevel *level = &run->levels[--run->count];
        (void) closedir(level->from);
        fd_close(level->to);
        free(level->name);
}

/* ---- files with several names ---- */

static int open_links(CopyRun *run) {
        if (run->links >= 0)
                return run->links;
        /* No layer has a file of that name. */
        _cleanup_free_ char *random = NULL;
        int root = run->levels[0].to, r = identifier_new_random(24, &random);
        if (r < 0)
                return r;
        (void) snprintf(run->links_name, sizeof(run->links_name), ".crt-links-%s", random);
        if (mkdirat(root, run->links_name, 0700) < 0)
                return -errno;
        run->links = path_open(root, run->links_name, O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
        return run->links;
}

static void link_name(const struct stat *st, char buffer[LINKS_NAME_SIZE]) {
        (void) snprintf(buffer, LINKS_NAME_SIZE, "%" PRIx64 "-%" PRIx64, (uint64_t) st->st_dev,
                        (uint64_t) st->st_ino);
}

/* 1: that name is there now. */
static int link_find(CopyRun *run, const struct stat *st, const char *name) {
        char first[LINKS_NAME_SIZE];
        if (st->st_nlink < 2 || run->links < 0)
                return 0;
        link_name(st, first);
        if (linkat(run->links, first, run->levels[run->count - 1].to, name, 0) >= 0)
                return 1;
        /* Too many names for this file system: it becomes a file of its own. */
        return errno == ENOENT || errno == EMLINK ? 0 : -errno;
}

static int link_keep(CopyRun *run, const struct stat *st, const char *name) {
        char first[LINKS_NAME_SIZE];
        if (st->st_nlink < 2)
                return 0;
        int links = open_links(run);
        if (links < 0)
                return links;
        link_name(st, first);
        (void) unlinkat(links, first, 0);
        if (linkat(run->levels[run->count - 1].to, name, links, first, 0) < 0 && errno != EMLINK)
                return -errno;
        return 0;
}

static int remove_links(CopyRun *run) {
        if (run->links < 0)
                return 0;
        run->links = fd_close(run->links);
        return path_remove_tree(run->levels[0].to, run->links_name);
}

/* ---- entries ---- */

static bool is_whiteout(const struct stat *st) {
        return S_ISCHR(st->st_mode) && st->st_rdev == WHITEOUT_DEVICE;
}

/* The directory in the target: the one that is there, if it is merged into. */
static int make_directory(const CopyRun *run, const char *name, bool opaque) {
        struct stat st;
        int to = run->levels[run->count - 1].to;
        if (run->copy->apply && fstatat(to, name, &st, AT_SYMLINK_NOFOLLOW) >= 0) {
                int r = opaque || !S_ISDIR(st.st_mode) ? path_remove_tree(to, name) : 0;
                if (r < 0)
                        return r;
        }
        if (mkdirat(to, name, 0700) < 0 && (!run->copy->apply || errno != EEXIST))
                return -errno;
        return path_open(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, PATH_BENEATH);
}

static int enter_directory(CopyRun *run, const char *name, Fault *fault) {
        if (run->count >= DEPTH_MAX)
                return fault_set(fault, -EDQUOT, "The snapshot has directories more than %i deep",
                                 DEPTH_MAX);
        _cleanup_close_ int from = path_open(dirfd(run->levels[run->count - 1].from), name,
                                             O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, PATH_BENEATH);
        _cleanup_close_ int to =
                from < 0 ? from : make_directory(run, name, run->copy->apply && tree_is_opaque(from));
        if (to < 0)
                return entry_fault(run, name, to, fault);
        int r = level_push(run, TAKE_FD(from), TAKE_FD(to), name);
        return r < 0 ? entry_fault(run, name, r, fault) : 0;
}

static int copy_file(CopyRun *run, const char *name, const struct stat *st) {
        int from = dirfd(run->levels[run->count - 1].from), to = run->levels[run->count - 1].to;
        if (run->copy->link) {
                if (linkat(from, name, to, name, 0) >= 0)
                        return 0;
                if (errno != EXDEV && errno != EMLINK && errno != EPERM)
                        return -errno;
        }
        int r = link_find(run, st, name);
        if (r != 0)
                return r < 0 ? r : 0;
        r = S_ISREG(st->st_mode) ? file_copy(from, to, name) : file_copy_special(from, to, name, st);
        return r < 0 ? r : link_keep(run, st, name);
}

static int copy_entry(CopyRun *run, const char *name, Fault *fault) {
        struct stat st;
        if (fstatat(dirfd(run->levels[run->count - 1].from), name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                /* A tree that is still mounted somewhere may change. */
                return errno == ENOENT ? 0 : entry_fault(run, name, -errno, fault);
        int to = run->levels[run->count - 1].to;
        int r = space_reserve_check(to, "copy the snapshot", fault);
        if (r < 0)
                return r;
        if (S_ISDIR(st.st_mode))
                return enter_directory(run, name, fault);
        r = run->copy->apply ? path_remove_tree(to, name) : 0;
        if (r >= 0 && !(run->copy->apply && is_whiteout(&st)))
                r = copy_file(run, name, &st);
        return r < 0 ? entry_fault(run, name, r, fault) : 0;
}

/* ---- the tree ---- */

/* What is made in a directory changes its times, so its attributes come last. */
static int leave_directory(CopyRun *run, Fault *fault) {
        int r = run->count == 1 ? remove_links(run) : 0;
        const CopyLevel *level = &run->levels[run->count - 1];
        if (r >= 0)
                r = file_copy_attributes(dirfd(level->from), level->to);
        if (r < 0)
                return entry_fault(run, "", r, fault);
        level_pop(run);
        return 0;
}

static int copy_all(CopyRun *run, Fault *fault) {
        while (run->count > 0) {
                errno = 0;
                const struct dirent *entry = readdir(run->levels[run->count - 1].from);
                if (!entry && errno != 0)
                        return entry_fault(run, "", -errno, fault);
                int r = 0;
                if (!entry)
                        r = leave_directory(run, fault);
                else if (path_is_component(entry->d_name))
                        r = copy_entry(run, entry->d_name, fault);
                if (r < 0)
                        return r;
        }
        return 0;
}

int tree_copy(const TreeCopy *copy, Fault *fault) {
        CopyRun run = { .copy = copy, .links = -EBADF };
        _cleanup_close_ int from = path_open(copy->from, ".", O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
        _cleanup_close_ int to = path_open(copy->to, ".", O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
        int r = from < 0 ? from : to;
        if (r >= 0)
                r = level_push(&run, TAKE_FD(from), TAKE_FD(to), "");
        r = r < 0 ? fault_set_errno(fault, r, "Can't open the tree") : copy_all(&run, fault);
        fd_close(run.links);
        while (run.count > 0)
                level_pop(&run);
        free(run.levels);
        return r;
}
