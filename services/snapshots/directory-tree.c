/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/directory-tree.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>

#include "lib/fd.h"
#include "lib/limits.h"
#include "lib/path.h"

/* What a layer of nothing but directories may make the worker hold. */
#define TREE_BYTES_MAX ((size_t) 512 * 1024 * 1024)
#define BUCKETS_FIRST ((size_t) 1024)
#define OPEN_MAX 512
/* Parts of paths that are walked, here or by the kernel: each takes some tens of nanoseconds. Layers that
 * were not made to be slow need about one for each entry. */
#define WORK_MAX (UINT64_C(256) * 1024 * 1024)

struct DirectoryTree {
        DirectoryNode *root;
        DirectoryNode **buckets;
        size_t bucket_count; /* a power of two */
        size_t count;
        size_t bytes;
        uint64_t seed; /* names are chosen by others */
        uint64_t work; /* that may still be done */
        DirectoryNode *newest, *oldest;
        unsigned open_count;
        DirectoryNode *last; /* that was found */
        char last_path[LIMIT_PATH_LENGTH + 1];
};

int directory_tree_new(int root, uint64_t work, DirectoryTree **ret) {
        _cleanup_(directory_tree_freep) DirectoryTree *tree = new0(DirectoryTree, 1);
        if (!tree)
                return -ENOMEM;
        tree->buckets = new0(DirectoryNode *, BUCKETS_FIRST);
        tree->root = calloc(1, sizeof(DirectoryNode) + 1);
        if (!tree->buckets || !tree->root)
                return -ENOMEM;
        tree->bucket_count = BUCKETS_FIRST;
        tree->root->fd = root;
        tree->last = tree->root;
        tree->work = work > 0 ? work : WORK_MAX;
        if (getrandom(&tree->seed, sizeof(tree->seed), 0) != sizeof(tree->seed))
                return -EIO;
        *ret = TAKE_PTR(tree);
        return 0;
}

static void node_free(DirectoryNode *node) {
        xattr_list_done(&node->xattrs);
        free(node);
}

DirectoryTree *directory_tree_free(DirectoryTree *tree) {
        if (!tree)
                return NULL;
        directory_tree_close_all(tree);
        for (size_t i = 0; i < tree->bucket_count; i++)
                for (DirectoryNode *node = tree->buckets[i], *next; node; node = next) {
                        next = node->next_in_bucket;
                        node_free(node);
                }
        if (tree->root)
                node_free(tree->root);
        free(tree->buckets);
        return mfree(tree);
}

DirectoryNode *directory_tree_root(DirectoryTree *tree) {
        return tree->root;
}

bool directory_tree_spend(DirectoryTree *tree, uint64_t amount) {
        if (tree->work < amount)
                return false;
        tree->work -= amount;
        return true;
}

/* ---- by name ---- */

/* FNV-1a with a secret start and a final mix. */
static uint64_t name_hash(const DirectoryTree *tree, const DirectoryNode *parent, const char *name,
                          size_t length) {
        uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ tree->seed ^ parent->hash;
        for (size_t i = 0; i < length; i++)
                hash = (hash ^ (uint8_t) name[i]) * UINT64_C(0x100000001b3);
        hash ^= hash >> 33;
        hash *= UINT64_C(0xff51afd7ed558ccd) ^ (tree->seed | 1);
        return hash ^ (hash >> 29);
}

static DirectoryNode **bucket_of(DirectoryTree *tree, uint64_t hash) {
        return &tree->buckets[hash & (tree->bucket_count - 1)];
}

static DirectoryNode *find_child(DirectoryTree *tree, const DirectoryNode *parent, const char *name,
                                 size_t length, uint64_t hash) {
        for (DirectoryNode *node = *bucket_of(tree, hash); node; node = node->next_in_bucket)
                if (node->hash == hash && node->parent == parent && strncmp(node->name, name, length) == 0 &&
                    node->name[length] == '\0')
                        return node;
        return NULL;
}

DirectoryNode *directory_tree_child(DirectoryTree *tree, const DirectoryNode *parent, const char *name,
                                    size_t length) {
        return find_child(tree, parent, name, length, name_hash(tree, parent, name, length));
}

/* Up from the last one that was found, to one on the way of this path. */
static DirectoryNode *find_start(DirectoryTree *tree, const char *path, size_t length) {
        DirectoryNode *node = tree->last;
        size_t common = 0, maximum = MIN_OF((size_t) node->path_length, length);
        while (common < maximum && path[common] == tree->last_path[common])
                common++;
        while (node->path_length > common ||
               (node->path_length > 0 && node->path_length < length && path[node->path_length] != '/'))
                node = node->parent;
        return node;
}

DirectoryNode *directory_tree_find(DirectoryTree *tree, const char *path, size_t length) {
        DirectoryNode *node = find_start(tree, path, length);
        size_t known = node->path_length;
        while (node->path_length < length) {
                size_t start = node->path_length > 0 ? node->path_length + 1U : 0,
                       part = strcspn(path + start, "/");
                part = MIN_OF(part, length - start);
                DirectoryNode *child = directory_tree_child(tree, node, path + start, part);
                if (!directory_tree_spend(tree, 1))
                        return NULL;
                if (!child)
                        break;
                node = child;
        }
        memcpy(tree->last_path + known, path + known, node->path_length - known);
        tree->last = node;
        return node;
}

static int tree_account(DirectoryTree *tree, size_t bytes, Fault *fault) {
        tree->bytes += bytes;
        if (tree->bytes <= TREE_BYTES_MAX)
                return 0;
        return fault_set(fault, -EDQUOT, "The layer has more directories than can be handled");
}

static int tree_grow(DirectoryTree *tree) {
        DirectoryNode **old = tree->buckets;
        size_t count = tree->bucket_count;
        DirectoryNode **larger = new0(DirectoryNode *, count * 2);
        if (!larger)
                return -ENOMEM;
        tree->buckets = larger;
        tree->bucket_count = count * 2;
        for (size_t i = 0; i < count; i++)
                for (DirectoryNode *node = old[i], *next; node; node = next) {
                        DirectoryNode **bucket = bucket_of(tree, node->hash);
                        next = node->next_in_bucket;
                        node->next_in_bucket = *bucket;
                        *bucket = node;
                }
        free(old);
        return 0;
}

int directory_tree_add(DirectoryTree *tree, DirectoryNode *parent, const char *name, size_t length,
                       DirectoryNode **ret, Fault *fault) {
        size_t size = sizeof(DirectoryNode) + length + 1;
        if (parent->path_length + 1U + length > LIMIT_PATH_LENGTH)
                return fault_set(fault, -EBADMSG, "%.200s: the path is longer than %i bytes", name,
                                 LIMIT_PATH_LENGTH);
        int r = tree_account(tree, size + 2 * sizeof(void *), fault);
        if (r >= 0 && tree->count >= tree->bucket_count)
                r = tree_grow(tree);
        DirectoryNode *node = r < 0 ? NULL : calloc(1, size);
        if (!node)
                return r == -EDQUOT ? r : fault_set_errno(fault, -ENOMEM, "Can't unpack the layer");
        memcpy(node->name, name, length);
        node->fd = -EBADF;
        node->mode = DIRECTORY_MODE;
        node->path_length = (uint16_t) (parent->path_length + (parent->path_length > 0) + length);
        node->hash = name_hash(tree, parent, name, length);
        node->parent = parent;
        node->previous = parent->last_child;
        if (node->previous)
                node->previous->next = node;
        else
                parent->first_child = node;
        parent->last_child = node;
        DirectoryNode **bucket = bucket_of(tree, node->hash);
        node->next_in_bucket = *bucket;
        *bucket = node;
        tree->count++;
        *ret = node;
        return 0;
}

/* ---- open ones ---- */

static void open_list_remove(DirectoryTree *tree, DirectoryNode *node) {
        *(node->newer ? &node->newer->older : &tree->newest) = node->older;
        *(node->older ? &node->older->newer : &tree->oldest) = node->newer;
        tree->open_count--;
}

static void open_list_add(DirectoryTree *tree, DirectoryNode *node) {
        node->newer = NULL;
        node->older = tree->newest;
        *(tree->newest ? &tree->newest->newer : &tree->oldest) = node;
        tree->newest = node;
        tree->open_count++;
}

static void node_close(DirectoryTree *tree, DirectoryNode *node) {
        if (node->fd < 0 || !node->parent)
                return;
        open_list_remove(tree, node);
        node->fd = fd_close(node->fd);
}

void directory_tree_close_all(DirectoryTree *tree) {
        while (tree->newest)
                node_close(tree, tree->newest);
}

/* What leads from above to node. */
static const char *path_between(const DirectoryNode *above, const DirectoryNode *node,
                                char buffer[LIMIT_PATH_LENGTH + 1]) {
        char *p = buffer + LIMIT_PATH_LENGTH;
        *p = '\0';
        for (; node != above; node = node->parent) {
                size_t length = strlen(node->name);
                if (*p != '\0')
                        *--p = '/';
                p -= length;
                memcpy(p, node->name, length);
        }
        return p;
}

/* From the nearest one that is open. */
static int open_from_above(DirectoryTree *tree, DirectoryNode *node, Fault *fault) {
        char buffer[LIMIT_PATH_LENGTH + 1];
        const DirectoryNode *above = node->parent;
        uint64_t parts = 1;
        for (; above->fd < 0; above = above->parent)
                parts++;
        if (!directory_tree_spend(tree, parts))
                return fault_set(fault, -EDQUOT,
                                 "The layer has more entries in deeper directories than can be handled");
        const char *path = path_between(above, node, buffer);
        int fd = path_open(above->fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, PATH_BENEATH);
        if (fd < 0)
                return fault_set_errno(fault, fd, "%.200s: can't open the directory", path);
        if (tree->open_count == OPEN_MAX)
                node_close(tree, tree->oldest);
        node->fd = fd;
        open_list_add(tree, node);
        return fd;
}

/* With its parent: the next directory is often one beside it. */
int directory_tree_open(DirectoryTree *tree, DirectoryNode *node, Fault *fault) {
        if (!node->parent || node == tree->newest)
                return node->fd;
        if (node->fd >= 0) {
                open_list_remove(tree, node);
                open_list_add(tree, node);
                return node->fd;
        }
        if (node->parent->fd < 0) {
                int r = open_from_above(tree, node->parent, fault);
                if (r < 0)
                        return r;
        }
        return open_from_above(tree, node, fault);
}

/* ---- changes ---- */

static void node_unlink(DirectoryTree *tree, DirectoryNode *node) {
        DirectoryNode *parent = node->parent, **place = bucket_of(tree, node->hash);
        while (*place != node)
                place = &(*place)->next_in_bucket;
        *place = node->next_in_bucket;
        *(node->previous ? &node->previous->next : &parent->first_child) = node->next;
        *(node->next ? &node->next->previous : &parent->last_child) = node->previous;
        node_close(tree, node);
        tree->bytes -= MIN_OF(tree->bytes, node->xattrs.bytes);
        tree->count--;
        node_free(node);
}

/* Deepest first. */
void directory_tree_remove(DirectoryTree *tree, DirectoryNode *node) {
        tree->last = tree->root;
        for (DirectoryNode *at = node;;) {
                while (at->first_child)
                        at = at->first_child;
                DirectoryNode *parent = at->parent;
                bool is_last = at == node;
                node_unlink(tree, at);
                if (is_last)
                        return;
                at = parent;
        }
}

int directory_tree_describe(DirectoryTree *tree, DirectoryNode *node, const LayerEntry *entry,
                            Fault *fault) {
        node->described = true;
        node->mode = entry->mode & 07777;
        node->uid = entry->uid;
        node->gid = entry->gid;
        memcpy(node->times, entry->times, sizeof(node->times));
        tree->bytes -= MIN_OF(tree->bytes, node->xattrs.bytes);
        xattr_list_done(&node->xattrs);
        int r = xattr_list_copy(entry->xattrs, entry->xattr_count, &node->xattrs);
        if (r < 0)
                return fault_set_errno(fault, r, "Can't unpack the layer");
        return tree_account(tree, node->xattrs.bytes, fault);
}
