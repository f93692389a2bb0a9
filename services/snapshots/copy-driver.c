/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Whole trees for every file system: a child begins as a copy of its parent, whose files share what they
 * hold with it where the file system can do that. Files of a layer itself are not copied, but linked. */

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "lib/fd.h"
#include "lib/path.h"
#include "services/snapshots/snapshot-driver.h"
#include "services/snapshots/tree-copy.h"
#include "services/snapshots/whole-tree.h"

static int copy_clone(int from, int tree, const char *name, Fault *fault) {
        if (mkdirat(tree, name, 0755) < 0 || fchmodat(tree, name, 0755, 0) < 0)
                return fault_set_errno(fault, -errno, "Can't make a tree");
        if (from < 0)
                return 0;
        _cleanup_close_ int to = path_open(tree, name, O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
        if (to < 0)
                return fault_set_errno(fault, to, "Can't open a fresh tree");
        const TreeCopy copy = { .from = from, .to = to };
        return tree_copy(&copy, fault);
}

static const WholeTree copy_tree = { .clone = copy_clone, .link = true };

static int copy_probe(int trees, Fault *fault) {
        return 0;
}

static int copy_make(int tree, int parent, Fault *fault) {
        return parent >= 0 ? 1 : copy_clone(-EBADF, tree, "fs", fault);
}

static int copy_fill(const SnapshotFinish *finish, Fault *fault) {
        return whole_tree_fill(&copy_tree, finish, fault);
}

static int copy_finish(const SnapshotFinish *finish, Fault *fault) {
        return whole_tree_finish(&copy_tree, finish, fault);
}

const SnapshotDriver copy_driver = {
        .name = "copy",
        .whole = true,
        .probe = copy_probe,
        .make = copy_make,
        .fill = copy_fill,
        .finish = copy_finish,
};
