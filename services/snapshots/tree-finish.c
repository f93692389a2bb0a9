/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/tree-finish.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/fd.h"
#include "lib/path.h"
#include "services/snapshots/tree-attributes.h"
#include "services/snapshots/tree-store.h"

#define NOTES_MAX ((size_t) 1024 * 1024 * 1024)
#define DIRECTORY_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW)

typedef struct Finish {
        int trees;
        int root; /* of the tree in question */
        const int64_t *parents;
        size_t parent_count;
} Finish;

static int open_root(int trees, int64_t id) {
        char path[TREE_PATH_SIZE];
        return path_open(trees, tree_path(id, "fs", path), DIRECTORY_FLAGS, 0, PATH_BENEATH);
}

/* What one layer says about a directory: 1 it has it, 0 it has nothing to say, -ENOTDIR it says that there
 * is none (a whiteout, a file or an opaque directory on the way hides what lies below), -ELOOP there is a
 * symbolic link on the way. */
static int layer_find(int layer, const char *path, int *ret) {
        _cleanup_close_ int at = fd_duplicate(layer);
        _cleanup_free_ char *copy = strdup(path);
        if (at < 0 || !copy)
                return at < 0 ? at : -ENOMEM;
        bool opaque = tree_is_opaque(at);
        struct stat st;
        char *state = NULL;
        for (char *part = strtok_r(copy, "/", &state); part; part = strtok_r(NULL, "/", &state)) {
                int next = path_open(at, part, DIRECTORY_FLAGS, 0, PATH_BENEATH);
                if (next == -ENOENT)
                        return opaque ? -ENOTDIR : 0;
                if (next == -ENOTDIR && fstatat(at, part, &st, AT_SYMLINK_NOFOLLOW) >= 0 &&
                    S_ISLNK(st.st_mode))
                        return -ELOOP;
                if (next < 0)
                        return next;
                fd_close(at);
                at = next;
                opaque = opaque || tree_is_opaque(at);
        }
        *ret = TAKE_FD(at);
        return 1;
}

/* A directory that the layer's archive names only as part of other paths is what it was below. Where that is
 * a symbolic link, the directory would hide all that the link leads to (think of "bin/x" on a base whose
 * "bin" is a link to "usr/bin"), and nobody said so. */
static int finish_implied(const Finish *finish, const char *path, Fault *fault) {
        _cleanup_close_ int to = path_open(finish->root, path, DIRECTORY_FLAGS, 0, PATH_BENEATH);
        if (to < 0)
                return to == -ENOENT || to == -ENOTDIR || to == -ELOOP ? 0 : to;
        for (size_t i = 0; i < finish->parent_count; i++) {
                _cleanup_close_ int layer = open_root(finish->trees, finish->parents[i]);
                if (layer < 0)
                        return layer;
                _cleanup_close_ int from = -EBADF;
                int r = layer_find(layer, path, &from);
                if (r == -ELOOP && !tree_is_opaque(to))
                        return fault_set(
                                fault, -EBADMSG,
                                "%s: the layer has entries below it, but in its parent it is, or is "
                                "reached by, a symbolic link",
                                path);
                if (r == -ENOTDIR || r == -ELOOP)
                        return 0;
                if (r < 0)
                        return r;
                if (r > 0)
                        return tree_copy_attributes(from, to);
        }
        return 0;
}

static int finish_opaque(const Finish *finish, const char *path) {
        _cleanup_close_ int fd = path_open(finish->root, path, DIRECTORY_FLAGS, 0, PATH_BENEATH);
        return fd < 0 ? fd : tree_set_opaque(fd);
}

static int finish_root(const Finish *finish) {
        if (finish->parent_count == 0)
                return 0;
        _cleanup_close_ int from = open_root(finish->trees, finish->parents[0]);
        return from < 0 ? from : tree_copy_attributes(from, finish->root);
}

static int finish_notes(const Finish *finish, const char *notes, size_t size, Fault *fault) {
        bool root_described = false;
        for (const char *p = notes; p < notes + size;) {
                const char *end = memchr(p, '\0', (size_t) (notes + size - p));
                if (!end)
                        return fault_set(fault, -EBADMSG, "The notes about the layer are damaged");
                int r = 0;
                if (p[0] == 'i')
                        r = finish_implied(finish, p + 1, fault);
                else if (p[0] == 'o')
                        r = finish_opaque(finish, p + 1);
                else if (p[0] == 'r')
                        root_described = true;
                else
                        r = -EBADMSG;
                if (r < 0)
                        return fault_set_errno(fault, r, "Can't finish the directory '%s'",
                                               p[0] ? p + 1 : "");
                p = end + 1;
        }
        int r = root_described ? 0 : finish_root(finish);
        return r < 0 ? fault_set_errno(fault, r, "Can't finish the root of the tree") : 0;
}

int tree_finish(int trees, int64_t id, const int64_t *parents, size_t count, Fault *fault) {
        char path[TREE_PATH_SIZE];
        _cleanup_close_ int root = open_root(trees, id);
        if (root < 0)
                return fault_set_errno(fault, root, "Can't open the tree");
        _cleanup_close_ int notes =
                path_open(trees, tree_path(id, "notes", path), O_RDONLY, 0, PATH_BENEATH);
        if (notes == -ENOENT)
                return 0;
        _cleanup_free_ char *text = NULL;
        size_t size = 0;
        int r = notes < 0 ? notes : fd_read_all(notes, NOTES_MAX, &text, &size);
        if (r < 0)
                return fault_set_errno(fault, r, "Can't read the notes about the layer");
        const Finish finish = { .trees = trees, .root = root, .parents = parents, .parent_count = count };
        return finish_notes(&finish, text, size, fault);
}
