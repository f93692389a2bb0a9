/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Layered trees that are kept as one EROFS image each as soon as they are committed, whiteouts and all: a
 * file that can't be changed, is deleted at once, and is mounted without being unpacked. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/path.h"
#include "services/snapshots/erofs-image.h"
#include "services/snapshots/file-verity.h"
#include "services/snapshots/image-mount.h"
#include "services/snapshots/layered-tree.h"
#include "services/snapshots/snapshot-driver.h"
#include "services/snapshots/tree-stage.h"
#include "services/snapshots/tree-store.h"
#include "services/snapshots/tree-sync.h"

static int erofs_probe(int trees, Fault *fault) {
        int r = image_mount_probe(trees, fault);
        return r < 0 ? r : layered_tree_probe(trees, fault);
}

static int write_image(int tree, int files, Fault *fault) {
        _cleanup_close_ int image =
                path_open(tree, IMAGE_UNFINISHED, O_RDWR | O_CREAT | O_EXCL, 0600, PATH_BENEATH);
        if (image < 0)
                return fault_set_errno(fault, image, "Can't make the image of the layer");
        int r = erofs_image_write(files, image, fault);
        if (r < 0)
                return r;
        r = tree_sync_file(image);
        return r < 0 ? fault_set_errno(fault, r, "Can't write the image") : 0;
}

/* Durable before it has its name, and before the files that it was made from go. */
static int seal_image(int tree) {
        _cleanup_close_ int file = path_open(tree, IMAGE_UNFINISHED, O_RDONLY, 0, PATH_BENEATH);
        int r = file < 0 ? file : tree_sync_note(file_verity_enable(file));
        if (r >= 0 && renameat(tree, IMAGE_UNFINISHED, tree, IMAGE_FILE) < 0)
                r = -errno;
        return r < 0 ? r : tree_sync_file(tree);
}

static int erofs_finish(const SnapshotFinish *finish, Fault *fault) {
        char path[TREE_PATH_SIZE];
        _cleanup_close_ int tree = path_open(finish->trees, tree_path(finish->id, NULL, path),
                                             O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
        if (tree < 0)
                return fault_set_errno(fault, tree, "Can't open the tree");
        int r = tree_stage_begin(tree, finish->trash);
        if (r < 0)
                return fault_set_errno(fault, r, "Can't begin to make the image of the layer");
        r = layered_tree_finish(finish, fault);
        if (r < 0)
                return r;
        _cleanup_close_ int files = path_open(tree, "fs", O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
        r = files < 0 ? fault_set_errno(fault, files, "Can't open the tree")
                      : write_image(tree, files, fault);
        if (r < 0)
                return r;
        r = seal_image(tree);
        if (r < 0)
                return fault_set_errno(fault, r, "Can't seal the image of the layer");
        static const char *const parts[] = { "fs", "work", "notes" };
        for (size_t i = 0; r >= 0 && i < ELEMENTS_OF(parts); i++)
                r = tree_stage_replace(tree, parts[i], NULL);
        return r < 0 ? fault_set_errno(fault, r, "Can't put aside what the image was made from") : 0;
}

const SnapshotDriver erofs_driver = {
        .name = "erofs",
        .tells_use = true,
        .probe = erofs_probe,
        .make = layered_tree_make,
        .finish = erofs_finish,
};
