/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/tree-store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/identifier.h"
#include "lib/path.h"
#include "lib/strv.h"
#include "services/snapshots/directory-stream.h"

const char *tree_path(int64_t id, const char *part, char buffer[TREE_PATH_SIZE]) {
        (void) snprintf(buffer, TREE_PATH_SIZE, "%" PRIi64 "%s%s", id, part ? "/" : "", part ? part : "");
        return buffer;
}

static int open_subdirectory(int state, const char *name, Fault *fault) {
        if (mkdirat(state, name, 0700) < 0 && errno != EEXIST)
                return fault_set_errno(fault, -errno, "Can't make the directory %s", name);
        int fd = path_open(state, name, O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
        return fd < 0 ? fault_set_errno(fault, fd, "Can't open the directory %s", name) : fd;
}

int tree_store_open(int state, TreeStore *ret, Fault *fault) {
        _cleanup_close_ int trees = open_subdirectory(state, "trees", fault);
        if (trees < 0)
                return trees;
        _cleanup_close_ int trash = open_subdirectory(state, "trash", fault);
        if (trash < 0)
                return trash;
        int aside = open_subdirectory(state, "aside", fault);
        if (aside < 0)
                return aside;
        *ret = TREE_STORE_NULL;
        ret->trees = TAKE_FD(trees);
        ret->trash = TAKE_FD(trash);
        ret->aside = aside;
        return 0;
}

static int copy_mount(int directory, uint64_t attributes) {
        struct mount_attr attribute = { .attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
                                                    MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOSYMFOLLOW |
                                                    attributes };
        _cleanup_close_ int fd =
                open_tree(directory, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
        if (fd < 0 || mount_setattr(fd, "", AT_EMPTY_PATH, &attribute, sizeof(attribute)) < 0)
                return -errno;
        return TAKE_FD(fd);
}

int tree_store_open_handed(int state, TreeStore *store, Fault *fault) {
        store->state_copy = copy_mount(state, 0);
        store->shown_trees = copy_mount(store->trees, MOUNT_ATTR_RDONLY);
        int r = store->state_copy < 0 ? store->state_copy : store->shown_trees;
        if (r < 0)
                return fault_set_errno(fault, r, "Can't copy the mount that the trees are on");
        store->handed_trees = open_subdirectory(store->state_copy, "trees", fault);
        if (store->handed_trees >= 0)
                store->handed_trash = open_subdirectory(store->state_copy, "trash", fault);
        return store->handed_trees < 0 ? store->handed_trees : MIN_OF(store->handed_trash, 0);
}

void tree_store_done(TreeStore *store) {
        store->trees = fd_close(store->trees);
        store->trash = fd_close(store->trash);
        store->aside = fd_close(store->aside);
        store->handed_trees = fd_close(store->handed_trees);
        store->handed_trash = fd_close(store->handed_trash);
        store->shown_trees = fd_close(store->shown_trees);
        store->state_copy = fd_close(store->state_copy);
}

int tree_store_make(TreeStore *store, int64_t id, Fault *fault) {
        char path[TREE_PATH_SIZE];
        if (mkdirat(store->trees, tree_path(id, NULL, path), 0700) < 0)
                return fault_set_errno(fault, -errno, "Can't make a tree");
        int fd = tree_store_get(store, id);
        return fd < 0 ? fault_set_errno(fault, fd, "Can't make a tree") : fd;
}

int tree_store_get(const TreeStore *store, int64_t id) {
        char path[TREE_PATH_SIZE];
        return path_open(store->trees, tree_path(id, NULL, path), O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
}

int tree_discard_part(int tree, const char *name, int trash) {
        _cleanup_free_ char *random = NULL;
        int r = identifier_new_random(32, &random);
        if (r >= 0 && renameat(tree, name, trash, random) < 0 && errno != ENOENT)
                r = -errno;
        return r;
}

int tree_store_discard(TreeStore *store, int64_t id, Fault *fault) {
        char path[TREE_PATH_SIZE];
        int r = tree_discard_part(store->trees, tree_path(id, NULL, path), store->trash);
        return r < 0 ? fault_set_errno(fault, r, "Can't discard a tree") : 0;
}

/* A stream of its own: the descriptors of the store have one offset. */
static DIR *directory_stream(int directory) {
        int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
        if (!stream)
                fd_close(fd);
        return stream;
}

bool tree_store_has_trash(const TreeStore *store) {
        DIR *stream = directory_stream(store->trash);
        if (!stream)
                return false;
        const char *name;
        bool found = directory_stream_next(stream, &name) != 0; /* who can't read it shall say so */
        (void) closedir(stream);
        return found;
}

int tree_store_put_aside(TreeStore *store, int64_t id, Fault *fault) {
        char path[TREE_PATH_SIZE];
        (void) tree_path(id, NULL, path);
        if (renameat(store->trees, path, store->aside, path) < 0 && errno != ENOENT)
                return fault_set_errno(fault, -errno, "Can't put a tree aside");
        return 0;
}

int tree_store_take_back(TreeStore *store, int64_t id) {
        char path[TREE_PATH_SIZE];
        (void) tree_path(id, NULL, path);
        return renameat(store->aside, path, store->trees, path) < 0 && errno != ENOENT ? -errno : 0;
}

/* Calls visit for each number that names something in the directory. */
static int visit_numbers(int directory, TreeVisit visit, void *userdata) {
        DIR *stream = directory_stream(directory);
        if (!stream)
                return -errno;
        const char *name;
        int r;
        while ((r = directory_stream_next(stream, &name)) > 0) {
                uint64_t id;
                if (string_to_uint64(name, INT64_MAX, &id) >= 0 && id > 0)
                        r = visit((int64_t) id, userdata);
                if (r < 0)
                        break;
        }
        (void) closedir(stream);
        return r;
}

int tree_store_visit(const TreeStore *store, TreeVisit visit, void *userdata) {
        return visit_numbers(store->trees, visit, userdata);
}

static int discard_one_aside(int64_t id, void *userdata) {
        const TreeStore *store = userdata;
        char path[TREE_PATH_SIZE];
        return tree_discard_part(store->aside, tree_path(id, NULL, path), store->trash);
}

int tree_store_discard_aside(TreeStore *store) {
        return visit_numbers(store->aside, discard_one_aside, store);
}
