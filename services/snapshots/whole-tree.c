/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/whole-tree.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/path.h"
#include "services/snapshots/tree-copy.h"
#include "services/snapshots/tree-stage.h"
#include "services/snapshots/tree-store.h"

#define FILES "fs"
#define NOTES "notes" /* the layer in fs was not applied yet (layer-unpack.h) */

static bool has_notes(int tree) {
        return faccessat(tree, NOTES, F_OK, AT_SYMLINK_NOFOLLOW) >= 0;
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

/* What was written by hand may still be written to through an old mount, other than what was unpacked. */
static int apply(const WholeTree *whole, const SnapshotFinish *finish, int tree, Fault *fault) {
        int r = whole->clone(finish->parent, tree, TREE_STAGE_NEW, fault);
        if (r < 0)
                return r;
        _cleanup_close_ int from = path_open(tree, FILES, O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
        _cleanup_close_ int to = path_open(tree, TREE_STAGE_NEW, O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
        const TreeCopy copy = {
                .from = from, .to = to, .apply = true, .link = whole->link && !finish->mounted
        };
        r = from < 0 ? from : to;
        if (r < 0)
                return fault_set_errno(fault, r, "Can't open the tree");
        return tree_copy(&copy, fault);
}

static int freeze(const WholeTree *whole, int tree, Fault *fault) {
        _cleanup_close_ int from = path_open(tree, FILES, O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
        if (from < 0)
                return fault_set_errno(fault, from, "Can't open the tree");
        return whole->clone(from, tree, TREE_STAGE_NEW, fault);
}

int whole_tree_finish(const WholeTree *whole, const SnapshotFinish *finish, Fault *fault) {
        _cleanup_close_ int tree = open_tree_of(finish, fault);
        if (tree < 0)
                return tree;
        int r = tree_stage_settle(tree, finish->trash, false);
        bool layer = r >= 0 && has_notes(tree);
        bool put_on = layer || finish->parent >= 0;
        if (r >= 0 && !put_on && !finish->mounted)
                return 0;
        if (r >= 0)
                r = tree_stage_begin(tree, finish->trash);
        if (r < 0)
                return fault_set_errno(fault, r, "Can't begin to copy the tree");
        r = put_on ? apply(whole, finish, tree, fault) : freeze(whole, tree, fault);
        if (r < 0)
                return r;
        r = tree_stage_replace(tree, FILES, TREE_STAGE_NEW);
        if (r >= 0 && layer)
                r = tree_stage_replace(tree, NOTES, NULL);
        return r < 0 ? fault_set_errno(fault, r, "Can't put the finished tree in its place") : 0;
}
