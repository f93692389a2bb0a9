/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/tree-stage.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/path.h"
#include "services/snapshots/image-mount.h"
#include "services/snapshots/tree-store.h"

/* What can be put aside, and what a commit makes: without a record the latter means nothing. */
static const char *const parts[] = { "fs", "work", "notes" };
static const char *const made[] = { TREE_STAGE_NEW, IMAGE_FILE, IMAGE_UNFINISHED, IMAGE_VERITY };

#define OLD_PATH_SIZE 32

static const char *old_path(const char *name, char buffer[OLD_PATH_SIZE]) {
        (void) snprintf(buffer, OLD_PATH_SIZE, TREE_STAGE_OLD "/%s", name);
        return buffer;
}

static bool exists(int tree, const char *name) {
        return faccessat(tree, name, F_OK, AT_SYMLINK_NOFOLLOW) >= 0;
}

/* What has the name now is new, and gets its first name again: on a full disk there may be room for no
 * other.
 */
static int take_back(int tree, const char *name) {
        char path[OLD_PATH_SIZE];
        (void) old_path(name, path);
        if (!exists(tree, path))
                return 0;
        if (renameat(tree, name, tree, TREE_STAGE_NEW) < 0 && errno != ENOENT)
                return -errno;
        return renameat(tree, path, tree, name) < 0 ? -errno : 0;
}

static int undo(int tree, int trash) {
        int r = 0;
        for (size_t i = 0; r >= 0 && i < ELEMENTS_OF(parts); i++)
                r = take_back(tree, parts[i]);
        for (size_t i = 0; r >= 0 && i < ELEMENTS_OF(made); i++)
                r = tree_discard_part(tree, made[i], trash);
        if (r >= 0 && unlinkat(tree, TREE_STAGE_OLD, AT_REMOVEDIR) < 0)
                r = -errno;
        return r;
}

int tree_stage_begin(int tree, int trash) {
        int r = tree_stage_settle(tree, trash, false);
        if (r >= 0 && mkdirat(tree, TREE_STAGE_OLD, 0700) < 0)
                r = -errno;
        return r;
}

int tree_stage_replace(int tree, const char *name, const char *by) {
        char path[OLD_PATH_SIZE];
        if (renameat(tree, name, tree, old_path(name, path)) < 0 && errno != ENOENT)
                return -errno;
        return by && renameat(tree, by, tree, name) < 0 ? -errno : 0;
}

int tree_stage_settle(int tree, int trash, bool committed) {
        if (!exists(tree, TREE_STAGE_OLD))
                return 0;
        return committed ? tree_discard_part(tree, TREE_STAGE_OLD, trash) : undo(tree, trash);
}

int tree_stage_settle_by_id(int trees, int trash, int64_t id, bool committed) {
        char path[TREE_PATH_SIZE];
        if (!tree_stage_is_begun(trees, id))
                return 0;
        _cleanup_close_ int tree =
                path_open(trees, tree_path(id, NULL, path), O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
        return tree < 0 ? tree : tree_stage_settle(tree, trash, committed);
}

bool tree_stage_is_begun(int trees, int64_t id) {
        char path[TREE_PATH_SIZE];
        return exists(trees, tree_path(id, TREE_STAGE_OLD, path));
}
