/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/whole-tree.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/path.h"
#include "lib/strv.h"
#include "services/snapshots/tree-copy.h"
#include "services/snapshots/tree-store.h"

/* In a tree's directory, beside "fs":
 *
 *   notes    the layer in fs was not applied yet (layer-unpack.h)
 *   applied  it was; holds the number of the parent
 *   merged   what takes the place of fs; means nothing while there are notes
 *   old      what fs was; on its way to the trash
 */
#define FILES "fs"
#define NOTES "notes"
#define APPLIED "applied"
#define MERGED "merged"
#define OLD "old"

static bool exists(int tree, const char *name) {
        return faccessat(tree, name, F_OK, AT_SYMLINK_NOFOLLOW) >= 0;
}

static int open_tree_of(const SnapshotFinish *finish, Fault *fault) {
        char path[TREE_PATH_SIZE];
        int tree = path_open(finish->trees, tree_path(finish->id, NULL, path), O_RDONLY | O_DIRECTORY, 0,
                             PATH_BENEATH);
        return tree < 0 ? fault_set_errno(fault, tree, "Can't open the tree") : tree;
}

int whole_tree_fill(const WholeTree *whole, const SnapshotFinish *finish, Fault *fault) {
        _cleanup_close_ int tree = open_tree_of(finish, fault);
        return tree < 0 ? tree : whole->clone(finish->parent, tree, FILES, fault);
}

/* ---- putting a layer on its parent ---- */

static int note_applied(const SnapshotFinish *finish, int tree, Fault *fault) {
        char text[24];
        int n = snprintf(text, sizeof(text), "%" PRIi64, finish->parent_id);
        int r = fd_replace_file_at(tree, APPLIED, text, (size_t) n, 0600);
        if (r >= 0 && unlinkat(tree, NOTES, 0) < 0)
                r = -errno;
        return r < 0 ? fault_set_errno(fault, r, "Can't note that the layer was put on its parent") : 0;
}

static int apply_layer(const WholeTree *whole, const SnapshotFinish *finish, int tree, Fault *fault) {
        int r = tree_discard_part(tree, MERGED, finish->trash);
        if (r < 0)
                return fault_set_errno(fault, r, "Can't begin to put the layer on its parent");
        r = whole->clone(finish->parent, tree, MERGED, fault);
        if (r < 0)
                return r;
        _cleanup_close_ int from = path_open(tree, FILES, O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
        _cleanup_close_ int to = path_open(tree, MERGED, O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
        const TreeCopy copy = { .from = from, .to = to, .apply = true, .link = whole->link };
        r = from < 0 ? from : to;
        if (r < 0)
                return fault_set_errno(fault, r, "Can't open the tree");
        r = tree_copy(&copy, fault);
        return r < 0 ? r : note_applied(finish, tree, fault);
}

/* An earlier try was killed after it had been put on a parent: it must be the same one now. */
static int check_applied(const SnapshotFinish *finish, int tree, Fault *fault) {
        _cleanup_free_ char *text = NULL;
        int64_t parent_id;
        int r = fd_read_line_at(tree, APPLIED, &text);
        if (r >= 0)
                r = string_to_int64(text, &parent_id);
        if (r < 0)
                return fault_set_errno(fault, r, "Can't read what the layer was put on");
        if (parent_id != finish->parent_id)
                return fault_set(fault, -EBUSY,
                                 "The layer was put on another parent already: unpack it anew");
        return 0;
}

/* ---- taking the place ---- */

static int replace_files(const SnapshotFinish *finish, int tree) {
        int r = 0;
        if (exists(tree, MERGED)) {
                if (exists(tree, FILES)) {
                        r = tree_discard_part(tree, OLD, finish->trash);
                        if (r >= 0 && renameat(tree, FILES, tree, OLD) < 0)
                                r = -errno;
                }
                if (r >= 0 && renameat(tree, MERGED, tree, FILES) < 0)
                        r = -errno;
        }
        return r < 0 ? r : tree_discard_part(tree, OLD, finish->trash);
}

static int freeze(const WholeTree *whole, const SnapshotFinish *finish, int tree, Fault *fault) {
        _cleanup_close_ int from = path_open(tree, FILES, O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
        if (from == -ENOENT && exists(tree, MERGED))
                return 0; /* killed on the last step */
        int r = from < 0 ? from : tree_discard_part(tree, MERGED, finish->trash);
        if (r < 0)
                return fault_set_errno(fault, r, "Can't begin to copy the tree");
        return whole->clone(from, tree, MERGED, fault);
}

int whole_tree_finish(const WholeTree *whole, const SnapshotFinish *finish, Fault *fault) {
        _cleanup_close_ int tree = open_tree_of(finish, fault);
        int r = tree;
        if (r >= 0) {
                if (exists(tree, NOTES))
                        r = apply_layer(whole, finish, tree, fault);
                else if (exists(tree, APPLIED))
                        r = check_applied(finish, tree, fault);
                else if (finish->mounted)
                        r = freeze(whole, finish, tree, fault);
        }
        if (r < 0)
                return r;
        r = replace_files(finish, tree);
        return r < 0 ? fault_set_errno(fault, r, "Can't put the finished tree in its place") : 0;
}
