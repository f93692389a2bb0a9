/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/directory-finish.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/limits.h"

#define NOTES_BUFFER ((size_t) 64 * 1024)

typedef struct Notes {
        int fd;
        size_t size;   /* in the buffer */
        size_t before; /* already written */
        char path[LIMIT_PATH_LENGTH + 1];
        char buffer[NOTES_BUFFER];
} Notes;

/* ---- notes ---- */

static int notes_flush(Notes *notes, Fault *fault) {
        int r = notes->fd < 0 ? 0 : fd_write_all(notes->fd, notes->buffer, notes->size);
        notes->before += notes->size;
        notes->size = 0;
        return r < 0 ? fault_set_errno(fault, r, "Can't write down what the layer's directories are") : 0;
}

static int notes_add(Notes *notes, char letter, size_t length, Fault *fault) {
        size_t size = length + 2;
        if (notes->before + notes->size + size > DIRECTORY_NOTES_MAX)
                return fault_set(fault, -EDQUOT, "The layer has more directories than can be handled");
        int r = notes->size + size > NOTES_BUFFER ? notes_flush(notes, fault) : 0;
        if (r < 0)
                return r;
        char *to = notes->buffer + notes->size;
        to[0] = letter;
        memcpy(to + 1, notes->path, length);
        to[length + 1] = '\0';
        notes->size += size;
        return 0;
}

static int note_directory(Notes *notes, const DirectoryNode *node, Fault *fault) {
        size_t name = strlen(node->name), length = node->path_length;
        if (node->parent && node->parent->parent)
                notes->path[length - name - 1] = '/';
        memcpy(notes->path + length - name, node->name, name);
        int r = 0;
        if (!node->parent && node->described)
                r = notes_add(notes, 'r', 0, fault);
        if (r >= 0 && node->opaque)
                r = notes_add(notes, 'o', length, fault);
        if (r >= 0 && node->parent && !node->described)
                r = notes_add(notes, 'i', length, fault);
        return r;
}

/* ---- attributes ---- */

static int node_fault(const DirectoryNode *node, int r, const char *what, Fault *fault) {
        return fault_set_errno(fault, r, "%s: can't %s the directory", node->parent ? node->name : "/",
                               what);
}

/* What can't be done by its name. One that was made as it shall be needs nothing but its times: none inside
 * has got a setgid bit or a default ACL yet, so none has inherited any, except from the root as it came. */
static bool needs_descriptor(const DirectoryNode *node, bool inherits) {
        if (!node->parent)
                return node->described;
        return inherits || node->mode != DIRECTORY_MODE || node->uid != 0 || node->gid != 0 ||
               node->xattrs.count > 0;
}

static int apply_to_descriptor(const DirectoryNode *node, Fault *fault) {
        /* The root may have come as a descriptor that only names it. */
        _cleanup_close_ int root =
                node->parent ? -EBADF : openat(node->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int fd = node->parent ? node->fd : root;
        if (fd < 0)
                return node_fault(node, -errno, "open", fault);
        if ((node->uid != 0 || node->gid != 0) && fchown(fd, node->uid, node->gid) < 0)
                return node_fault(node, -errno, "set the owner of", fault);
        if (fchmod(fd, node->mode) < 0)
                return node_fault(node, -errno, "set the mode of", fault);
        int r = entry_set_xattrs(fd, node->xattrs.items, node->xattrs.count, node->name, fault);
        if (r < 0)
                return r;
        if (node->described && futimens(fd, node->times) < 0)
                return node_fault(node, -errno, "set the times of", fault);
        return 0;
}

static int apply_attributes(const DirectoryNode *node, bool inherits, Fault *fault) {
        if (needs_descriptor(node, inherits))
                return apply_to_descriptor(node, fault);
        if (node->described && utimensat(node->parent->fd, node->name, node->times, AT_SYMLINK_NOFOLLOW) < 0)
                return node_fault(node, -errno, "set the times of", fault);
        return 0;
}

/* ---- all of them ---- */

typedef struct Finish {
        DirectoryNode *root;
        bool inherits; /* what is made in the root has more than it was given */
        Notes notes;
} Finish;

static bool root_inherits(int root) {
        _cleanup_close_ int fd = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        struct stat st;
        if (fd < 0 || fstat(fd, &st) < 0 || (st.st_mode & S_ISGID) != 0)
                return true;
        return fgetxattr(fd, "system.posix_acl_default", NULL, 0) >= 0 ||
               (errno != ENODATA && errno != EOPNOTSUPP);
}

static DirectoryNode *next_in_order(const Finish *finish, DirectoryNode *node) {
        if (node->first_child)
                return node->first_child;
        while (node != finish->root && !node->next)
                node = node->parent;
        return node == finish->root ? NULL : node->next;
}

/* Those that have to be open, for themselves or for what lies in them. */
static void mark_all(const Finish *finish) {
        for (DirectoryNode *node = finish->root; node; node = next_in_order(finish, node)) {
                DirectoryNode *at = needs_descriptor(node, finish->inherits) ? node
                                    : node->described                        ? node->parent
                                                                             : NULL;
                for (; at && !at->is_needed; at = at->parent)
                        at->is_needed = true;
        }
}

static int enter(Finish *finish, DirectoryNode *node, Fault *fault) {
        if (node->parent && node->is_needed) {
                node->fd = openat(node->parent->fd, node->name,
                                  O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                if (node->fd < 0)
                        return node_fault(node, -errno, "open", fault);
        }
        return note_directory(&finish->notes, node, fault);
}

static int leave(const Finish *finish, DirectoryNode *node, Fault *fault) {
        int r = apply_attributes(node, finish->inherits, fault);
        if (node->parent)
                node->fd = fd_close(node->fd);
        return r;
}

/* Down to the first child, then to the next one beside, then up: as many are open as the way is deep. */
static int visit_all(Finish *finish, Fault *fault) {
        DirectoryNode *root = finish->root, *node = root;
        int r = enter(finish, node, fault);
        while (r >= 0) {
                if (node->first_child) {
                        node = node->first_child;
                        r = enter(finish, node, fault);
                        continue;
                }
                while (r >= 0 && node != root && !node->next) {
                        r = leave(finish, node, fault);
                        node = node->parent;
                }
                if (r >= 0)
                        r = leave(finish, node, fault);
                if (r < 0 || node == root)
                        break;
                node = node->next;
                r = enter(finish, node, fault);
        }
        for (; node != root && node; node = node->parent)
                node->fd = fd_close(node->fd);
        return r;
}

int directory_finish(DirectoryTree *tree, int notes, Fault *fault) {
        _cleanup_free_ Finish *finish = malloc(sizeof(*finish));
        if (!finish)
                return fault_set_errno(fault, -ENOMEM, "Can't unpack the layer");
        finish->root = directory_tree_root(tree);
        finish->inherits = root_inherits(finish->root->fd);
        finish->notes.fd = notes;
        finish->notes.size = finish->notes.before = 0;
        directory_tree_close_all(tree);
        mark_all(finish);
        int r = visit_all(finish, fault);
        return r < 0 ? r : notes_flush(&finish->notes, fault);
}
