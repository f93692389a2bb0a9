/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/tree-diff.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/limits.h"
#include "lib/strv.h"
#include "services/snapshots/diff-entry.h"
#include "services/snapshots/directory-names.h"
#include "services/snapshots/tree-attributes.h"

#define WHITEOUT_PREFIX ".wh."
#define DIRECTORY_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

/* Where a name is. */
enum { IN_OLD = 1, IN_NEW = 2, IN_UPPER = 4 };

/* A directory on the way from the root to where we stand. */
typedef struct DiffLevel {
        int old, new, upper;  /* as in TreeDiffSpec, of this directory */
        DirectoryNames names; /* of what may differ */
        size_t next;
        size_t path_length;
        struct stat st;
        bool written; /* its own entry is in the layer */
} DiffLevel;

typedef struct TreeDiff {
        const TreeDiffSpec *spec;
        DiffEntries entries;
        FileCompare compare;
        DiffLevel *levels;
        size_t level_count, levels_allocated;
        char path[PATH_MAX]; /* of the last level */
} TreeDiff;

static void level_done(DiffLevel *level) {
        fd_close(level->old);
        fd_close(level->new);
        fd_close(level->upper);
        directory_names_done(&level->names);
}

static void tree_diff_done(TreeDiff *diff) {
        while (diff->level_count > 0)
                level_done(&diff->levels[--diff->level_count]);
        free(diff->levels);
        diff_entries_done(&diff->entries);
        file_compare_done(&diff->compare);
}

static int diff_fault(const TreeDiff *diff, int r, const char *name, Fault *fault) {
        return fault_set_errno(fault, r, "Can't compare '%s%s%s'", diff->path, diff->path[0] ? "/" : "",
                               name);
}

/* The path of a name in the last level. */
static int diff_path(const TreeDiff *diff, const char *name, char path[PATH_MAX], Fault *fault) {
        int length = snprintf(path, PATH_MAX, "%s%s%s", diff->path, diff->path[0] ? "/" : "", name);
        if (length < 0 || length > LIMIT_PATH_LENGTH)
                return fault_set(fault, -EBADMSG, "The path of '%.200s' is too long for a layer", name);
        if (string_after(name, WHITEOUT_PREFIX))
                return fault_set(fault, -EBADMSG,
                                 "'%.400s' can't be in a layer: names that begin with " WHITEOUT_PREFIX
                                 " stand for what was removed",
                                 path);
        return 0;
}

/* ---- levels ---- */

/* All names where nothing says which of them may differ. An opaque directory of the upper tree hides what
 * was below it, without saying what that was. */
static int read_names(DiffLevel *level) {
        if (level->upper >= 0 && level->old >= 0 && !tree_is_opaque(level->upper))
                return directory_names_add(&level->names, level->upper, IN_UPPER);
        level->upper = fd_close(level->upper);
        int r = directory_names_add(&level->names, level->new, IN_NEW);
        if (r >= 0 && level->old >= 0)
                r = directory_names_add(&level->names, level->old, IN_OLD);
        return r;
}

/* Takes the descriptors. */
static int push_level(TreeDiff *diff, DiffLevel *level) {
        int r = read_names(level);
        if (r >= 0 && diff->level_count == diff->levels_allocated) {
                size_t wanted = diff->levels_allocated > 0 ? diff->levels_allocated * 2 : 32;
                DiffLevel *larger = reallocarray(diff->levels, wanted, sizeof(*larger));
                if (larger) {
                        diff->levels = larger;
                        diff->levels_allocated = wanted;
                } else
                        r = -ENOMEM;
        }
        if (r < 0) {
                level_done(level);
                return r;
        }
        directory_names_sort(&level->names);
        diff->levels[diff->level_count++] = *level;
        return 0;
}

static void pop_level(TreeDiff *diff) {
        level_done(&diff->levels[--diff->level_count]);
        diff->path[diff->level_count > 0 ? diff->levels[diff->level_count - 1].path_length : 0] = '\0';
}

/* A directory that did not change itself comes before what changed in it, so that whoever applies the layer
 * knows what it is. The root always is there. */
static int write_ancestors(TreeDiff *diff, Fault *fault) {
        for (size_t i = 1; i < diff->level_count; i++) {
                DiffLevel *level = &diff->levels[i];
                if (level->written)
                        continue;
                char path[PATH_MAX];
                memcpy(path, diff->path, level->path_length);
                path[level->path_length] = '\0';
                const FilePlace place = { .directory = level->new, .name = ".", .st = level->st };
                int r = diff_entry_write(&diff->entries, &place, path, fault);
                if (r < 0)
                        return r;
                level->written = true;
        }
        return 0;
}

/* ---- names ---- */

static int stat_at(int directory, const char *name, FilePlace *ret) {
        *ret = (FilePlace){ .directory = directory, .name = name };
        if (directory < 0)
                return 0;
        if (fstatat(directory, name, &ret->st, AT_SYMLINK_NOFOLLOW) < 0)
                return errno == ENOENT ? 0 : -errno;
        return 1;
}

/* A layer can't hold sockets: for it there is none. */
static int look_up(const DiffLevel *level, const char *name, FilePlace *old, bool *ret_old, FilePlace *new,
                   bool *ret_new) {
        int r = stat_at(level->old, name, old);
        *ret_old = r > 0 && !S_ISSOCK(old->st.st_mode);
        if (r >= 0)
                r = stat_at(level->new, name, new);
        *ret_new = r > 0 && !S_ISSOCK(new->st.st_mode);
        return r < 0 ? r : 0;
}

static int write_whiteouts(TreeDiff *diff, Fault *fault) {
        DiffLevel *level = &diff->levels[diff->level_count - 1];
        for (size_t i = 0; level->old >= 0 && i < level->names.count; i++) {
                const DirectoryName *name = &level->names.names[i];
                bool had, has;
                FilePlace old, new;
                char path[PATH_MAX];
                /* In both lists, and no socket: it is there. */
                if ((name->in & IN_NEW) && name->type != DT_SOCK && name->type != DT_UNKNOWN)
                        continue;
                int r = look_up(level, name->name, &old, &had, &new, &has);
                if (r < 0)
                        return diff_fault(diff, r, name->name, fault);
                if (!had || has)
                        continue;
                r = diff_path(diff, name->name, path, fault);
                if (r >= 0)
                        r = write_ancestors(diff, fault);
                if (r >= 0)
                        r = diff_entry_whiteout(&diff->entries, diff->path, name->name, fault);
                if (r < 0)
                        return r;
                level = &diff->levels[diff->level_count - 1];
        }
        return 0;
}

static int open_directory(int at, const char *name) {
        if (at < 0)
                return -EBADF;
        int fd = openat(at, name, DIRECTORY_FLAGS);
        return fd < 0 ? -errno : fd;
}

static int enter_directory(TreeDiff *diff, const char *name, const FilePlace *new, bool was_directory,
                           bool written, const char *path) {
        const DiffLevel *level = &diff->levels[diff->level_count - 1];
        DiffLevel below = {
                .old = was_directory ? open_directory(level->old, name) : -EBADF,
                .new = open_directory(level->new, name),
                .upper = was_directory ? open_directory(level->upper, name) : -EBADF,
                .path_length = strlen(path),
                .st = new->st,
                .written = written,
        };
        int r = was_directory && below.old < 0 ? below.old : below.new < 0 ? below.new : 0;
        if (r < 0) {
                level_done(&below);
                return r;
        }
        r = push_level(diff, &below);
        if (r >= 0)
                memcpy(diff->path, path, strlen(path) + 1);
        return r;
}

static int diff_name(TreeDiff *diff, const char *name, Fault *fault) {
        const DiffLevel *level = &diff->levels[diff->level_count - 1];
        FilePlace old, new;
        bool had, has;
        char path[PATH_MAX];
        int r = look_up(level, name, &old, &had, &new, &has);
        if (r >= 0 && has && had)
                r = file_compare(&diff->compare, &old, &new);
        if (r < 0)
                return diff_fault(diff, r, name, fault);
        if (!has)
                return 0;
        bool same = r > 0, is_directory = S_ISDIR(new.st.st_mode);
        r = diff_path(diff, name, path, fault);
        if (r < 0)
                return r;
        if (same && !is_directory) {
                r = diff_entry_is_regrouped(&diff->entries, &old, &new, path);
                if (r <= 0)
                        return r < 0 ? diff_fault(diff, r, name, fault) : 0;
                same = false;
        }
        if (!same) {
                r = write_ancestors(diff, fault);
                if (r >= 0)
                        r = diff_entry_write(&diff->entries, &new, path, fault);
                if (r < 0)
                        return r;
        }
        if (!is_directory)
                return 0;
        r = enter_directory(diff, name, &new, had && S_ISDIR(old.st.st_mode), !same, path);
        if (r < 0)
                return diff_fault(diff, r, name, fault);
        return write_whiteouts(diff, fault);
}

/* ---- the whole ---- */

static int start(TreeDiff *diff, Fault *fault) {
        const TreeDiffSpec *spec = diff->spec;
        DiffLevel root = {
                .old = open_directory(spec->old, "."),
                .new = open_directory(spec->new, "."),
                .upper = open_directory(spec->upper, "."),
                .written = true,
        };
        FilePlace old = { .directory = root.old, .name = "." }, new = { .directory = root.new, .name = "." };
        int r = 0;
        if (root.new < 0 || (spec->old >= 0 && root.old < 0))
                r = -ENOENT;
        else if (fstat(root.new, &new.st) < 0 || (root.old >= 0 && fstat(root.old, &old.st) < 0))
                r = -errno;
        if (r < 0) {
                level_done(&root);
                return fault_set_errno(fault, r, "Can't open the trees");
        }
        root.st = new.st;
        r = push_level(diff, &root);
        if (r >= 0 && spec->old >= 0)
                r = file_compare(&diff->compare, &old, &new);
        if (r < 0)
                return diff_fault(diff, r, "", fault);
        r = r > 0 ? 0 : diff_entry_write(&diff->entries, &new, ".", fault);
        return r < 0 ? r : write_whiteouts(diff, fault);
}

int tree_diff(const TreeDiffSpec *spec, Fault *fault) {
        _cleanup_(tree_diff_done) TreeDiff diff = {
                .spec = spec,
                .entries = { .writer = { .sink = spec->sink }, .clamp = spec->clamp, .epoch = spec->epoch },
                .compare = { .same_inodes = spec->same_inodes },
        };
        int r = start(&diff, fault);
        while (r >= 0 && diff.level_count > 0) {
                DiffLevel *level = &diff.levels[diff.level_count - 1];
                if (level->next == level->names.count)
                        pop_level(&diff);
                else
                        r = diff_name(&diff, level->names.names[level->next++].name, fault);
        }
        if (r >= 0)
                r = tar_writer_end(&diff.entries.writer);
        return r < 0 ? fault_set_errno(fault, r, "Can't write the layer") : 0;
}
