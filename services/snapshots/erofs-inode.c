/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/erofs-inode.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/limits.h"
#include "lib/path.h"
#include "services/snapshots/erofs-xattr.h"
#include "services/snapshots/file-copy.h"

#define DEPTH_MAX 4000
#define SLOTS_FIRST ((size_t) 256)

typedef struct ScanLevel {
        int fd;
        size_t next; /* the child that is to be looked at */
        size_t end;
} ScanLevel;

/* Inodes with several names, by their number. */
typedef struct LinkSlot {
        dev_t device;
        ino_t number;
        size_t inode; /* + 1; 0: empty */
} LinkSlot;

typedef struct Scan {
        ErofsTree *tree;
        ScanLevel *levels;
        size_t count;
        LinkSlot *slots;
        size_t slot_count; /* a power of two */
        size_t link_count;
} Scan;

static int entry_fault(const Scan *scan, size_t index, int r, Fault *fault) {
        if (r == -ENOSPC || r == -EDQUOT)
                return fault_set(fault, -ENOSPC, "No space left for the image of the layer");
        const char *name = index > 0 ? scan->tree->inodes[index].name : "/";
        if (r == -E2BIG) /* of erofs-xattr.h */
                return fault_set(
                        fault, -EDQUOT,
                        "'%s' has more extended attributes than an image of a layer can hold (values "
                        "of up to 65535 bytes, 256 KiB in all)",
                        name);
        return fault_set_errno(fault, r, "Can't take '%s' into the image of the layer", name);
}

/* ---- names ---- */

static int add_inode(ErofsTree *tree, size_t parent, const char *name) {
        if (tree->count == LIMIT_LAYER_ENTRIES)
                return -EDQUOT;
        if (tree->count == tree->allocated) {
                size_t larger = tree->allocated > 0 ? tree->allocated * 2 : 1024;
                ErofsInode *inodes = reallocarray(tree->inodes, larger, sizeof(*inodes));
                if (!inodes)
                        return -ENOMEM;
                tree->inodes = inodes;
                tree->allocated = larger;
        }
        char *copy = strdup(name);
        if (!copy)
                return -ENOMEM;
        tree->inodes[tree->count] = (ErofsInode){ .name = copy, .parent = parent, .same_as = tree->count };
        tree->count++;
        return 0;
}

/* As the kernel compares them: bytes without sign. */
static int compare_inodes(const void *a, const void *b) {
        return strcmp(((const ErofsInode *) a)->name, ((const ErofsInode *) b)->name);
}

static int read_names(ErofsTree *tree, size_t parent, int directory) {
        int fd = path_open(directory, ".", O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
        DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
        if (!stream) {
                fd_close(fd);
                return fd < 0 ? fd : -ENOMEM;
        }
        size_t first = tree->count;
        int r = 0;
        errno = 0;
        for (struct dirent *entry; r >= 0 && (entry = readdir(stream)); errno = 0)
                if (path_is_component(entry->d_name))
                        r = add_inode(tree, parent, entry->d_name);
        if (r >= 0 && errno != 0)
                r = -errno;
        (void) closedir(stream);
        if (r < 0)
                return r;
        if (tree->count > first)
                qsort(&tree->inodes[first], tree->count - first, sizeof(*tree->inodes), compare_inodes);
        for (size_t i = first; i < tree->count; i++)
                tree->inodes[i].same_as = i;
        tree->inodes[parent].first_child = first;
        tree->inodes[parent].child_count = tree->count - first;
        return 0;
}

/* ---- links ---- */

static LinkSlot *find_slot(LinkSlot *slots, size_t count, dev_t device, ino_t number) {
        size_t i = (number * UINT64_C(0x9e3779b97f4a7c15)) & (count - 1);
        while (slots[i].inode > 0 && !(slots[i].number == number && slots[i].device == device))
                i = (i + 1) & (count - 1);
        return &slots[i];
}

static int grow_slots(Scan *scan) {
        size_t count = scan->slot_count > 0 ? scan->slot_count * 2 : SLOTS_FIRST;
        LinkSlot *slots = new0(LinkSlot, count);
        if (!slots)
                return -ENOMEM;
        for (size_t i = 0; i < scan->slot_count; i++)
                if (scan->slots[i].inode > 0)
                        *find_slot(slots, count, scan->slots[i].device, scan->slots[i].number) =
                                scan->slots[i];
        free(scan->slots);
        scan->slots = slots;
        scan->slot_count = count;
        return 0;
}

/* 1: it is another name of an inode that is known. */
static int note_link(Scan *scan, size_t index, const struct stat *st) {
        if (S_ISDIR(st->st_mode) || st->st_nlink < 2)
                return 0;
        if (scan->link_count * 2 >= scan->slot_count) {
                int r = grow_slots(scan);
                if (r < 0)
                        return r;
        }
        LinkSlot *slot = find_slot(scan->slots, scan->slot_count, st->st_dev, st->st_ino);
        if (slot->inode > 0) {
                scan->tree->inodes[index].same_as = slot->inode - 1;
                scan->tree->inodes[slot->inode - 1].link_count++;
                return 1;
        }
        *slot = (LinkSlot){ .device = st->st_dev, .number = st->st_ino, .inode = index + 1 };
        scan->link_count++;
        return 0;
}

/* ---- one inode ---- */

/* As many blocks as its size says, one after the other. */
static int take_whole(ErofsTree *tree, ErofsInode *inode, int fd) {
        inode->block = tree->blocks;
        tree->blocks += EROFS_BLOCKS(inode->size);
        if (tree->blocks > UINT32_MAX)
                return -EFBIG;
        off_t base = (off_t) inode->block * EROFS_BLOCK, size = (off_t) inode->size;
        for (off_t start = 0; start < size;) {
                start = lseek(fd, start, SEEK_DATA);
                if (start < 0)
                        return errno == ENXIO ? 0 : -errno;
                off_t end = lseek(fd, start, SEEK_HOLE);
                if (end < 0)
                        return -errno;
                int r = file_copy_range(fd, start, tree->image, base + start, MIN_OF(end, size) - start);
                if (r < 0)
                        return r;
                start = end;
        }
        return 0;
}

static int take_contents(ErofsTree *tree, ErofsInode *inode, int fd) {
        int r = erofs_chunks_take(fd, inode->size, tree->image, &tree->blocks, &inode->chunks);
        return r < 0 || inode->chunks ? r : take_whole(tree, inode, fd);
}

static int take_link(ErofsInode *inode, int directory) {
        inode->link = calloc(1, inode->size + 1);
        if (!inode->link)
                return -ENOMEM;
        ssize_t n = readlinkat(directory, inode->name, inode->link, inode->size + 1);
        return n < 0 ? -errno : (uint64_t) n != inode->size ? -ESTALE : 0;
}

/* fd: of the file or directory itself; -EBADF for what is not opened. */
static int take_inode(ErofsTree *tree, ErofsInode *inode, const struct stat *st, int fd) {
        inode->mode = st->st_mode;
        inode->uid = st->st_uid;
        inode->gid = st->st_gid;
        inode->changed = st->st_mtim;
        inode->link_count = S_ISDIR(st->st_mode) ? 2 : 1;
        inode->device = st->st_rdev;
        inode->size = S_ISREG(st->st_mode) || S_ISLNK(st->st_mode) ? (uint64_t) st->st_size : 0;
        return S_ISREG(st->st_mode) ? take_contents(tree, inode, fd) : 0;
}

static int level_push(Scan *scan, int fd, size_t index) {
        ErofsTree *tree = scan->tree;
        if (scan->count == DEPTH_MAX) {
                fd_close(fd);
                return -ELOOP;
        }
        scan->levels[scan->count++] = (ScanLevel){ .fd = fd };
        int r = read_names(tree, index, fd);
        scan->levels[scan->count - 1].next = tree->inodes[index].first_child;
        scan->levels[scan->count - 1].end =
                tree->inodes[index].first_child + tree->inodes[index].child_count;
        return r;
}

static int take_opened(Scan *scan, size_t index, int directory, const struct stat *st) {
        ErofsInode *inode = &scan->tree->inodes[index];
        struct stat now;
        _cleanup_close_ int fd =
                path_open(directory, inode->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0, PATH_BENEATH);
        if (fd < 0)
                return fd;
        if (fstat(fd, &now) < 0)
                return -errno;
        if ((now.st_mode & S_IFMT) != (st->st_mode & S_IFMT))
                return -ESTALE;
        int r = take_inode(scan->tree, inode, &now, fd);
        if (r >= 0)
                r = erofs_xattrs_read(fd, &inode->xattrs, &inode->xattr_size);
        if (r < 0 || !S_ISDIR(st->st_mode))
                return r;
        scan->tree->inodes[inode->parent].link_count++;
        return level_push(scan, TAKE_FD(fd), index);
}

static int take_entry(Scan *scan, size_t index, int directory) {
        ErofsInode *inode = &scan->tree->inodes[index];
        struct stat st;
        if (fstatat(directory, inode->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        int r = note_link(scan, index, &st);
        if (r != 0)
                return r < 0 ? r : 0;
        if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
                return take_opened(scan, index, directory, &st);
        r = take_inode(scan->tree, inode, &st, -EBADF);
        if (r >= 0 && S_ISLNK(st.st_mode))
                r = take_link(inode, directory);
        return r < 0 ? r : erofs_xattrs_read_at(directory, inode->name, &inode->xattrs, &inode->xattr_size);
}

/* ---- the tree ---- */

static int scan_all(Scan *scan, Fault *fault) {
        while (scan->count > 0) {
                ScanLevel *level = &scan->levels[scan->count - 1];
                if (level->next == level->end) {
                        fd_close(level->fd);
                        scan->count--;
                        continue;
                }
                size_t index = level->next++;
                int r = take_entry(scan, index, level->fd);
                if (r < 0)
                        return entry_fault(scan, index, r, fault);
        }
        return 0;
}

static int scan_root(Scan *scan, int root) {
        ErofsTree *tree = scan->tree;
        struct stat st;
        if (fstat(root, &st) < 0)
                return -errno;
        int r = add_inode(tree, 0, "");
        if (r >= 0)
                r = take_inode(tree, &tree->inodes[0], &st, root);
        if (r >= 0)
                r = erofs_xattrs_read(root, &tree->inodes[0].xattrs, &tree->inodes[0].xattr_size);
        if (r < 0)
                return r;
        int fd = path_open(root, ".", O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
        return fd < 0 ? fd : level_push(scan, fd, 0);
}

int erofs_tree_read(ErofsTree *tree, int root, int image, Fault *fault) {
        Scan scan = { .tree = tree, .levels = new0(ScanLevel, DEPTH_MAX) };
        *tree = (ErofsTree){ .image = image, .blocks = 1 }; /* the first is the superblock's */
        int r = scan.levels ? scan_root(&scan, root) : -ENOMEM;
        r = r < 0 ? entry_fault(&scan, 0, r, fault) : scan_all(&scan, fault);
        while (scan.count > 0)
                fd_close(scan.levels[--scan.count].fd);
        free(scan.levels);
        free(scan.slots);
        return r;
}

void erofs_tree_done(ErofsTree *tree) {
        for (size_t i = 0; i < tree->count; i++) {
                free(tree->inodes[i].name);
                free(tree->inodes[i].link);
                free(tree->inodes[i].xattrs);
                erofs_chunks_free(tree->inodes[i].chunks);
        }
        free(tree->inodes);
        *tree = (ErofsTree){ 0 };
}
