/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/shared-extents.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/path.h"
#include "services/snapshots/btrfs-subvolume.h"
#include "services/snapshots/tree-store.h"

#define FILES "fs"
#define EXTENTS_AT_ONCE 128
/* 64 MiB of memory. Whoever makes more parts than that has the rest counted as if it were not shared. */
#define RANGES_MAX ((size_t) 4 * 1024 * 1024)
/* Their place on the disk is not said, or means something else. */
#define NO_PLACE (FIEMAP_EXTENT_UNKNOWN | FIEMAP_EXTENT_DELALLOC | FIEMAP_EXTENT_DATA_INLINE)

/* ---- places on the disk ---- */

static void ranges_done(DiskRanges *ranges) {
        ranges->items = mfree(ranges->items);
}

static int compare_ranges(const void *a, const void *b) {
        const DiskRange *one = a, *other = b;
        return one->begin < other->begin ? -1 : one->begin > other->begin;
}

/* In order, and none overlap. */
static void ranges_sort(DiskRanges *ranges) {
        size_t last = 0;
        if (ranges->count == 0)
                return;
        qsort(ranges->items, ranges->count, sizeof(*ranges->items), compare_ranges);
        for (size_t i = 1; i < ranges->count; i++) {
                DiskRange *before = &ranges->items[last];
                if (ranges->items[i].begin <= before->end)
                        before->end = MAX_OF(before->end, ranges->items[i].end);
                else
                        ranges->items[++last] = ranges->items[i];
        }
        ranges->count = last + 1;
}

static int ranges_add(DiskRanges *ranges, DiskRange range) {
        if (ranges->count == RANGES_MAX) {
                ranges_sort(ranges);
                ranges->full = ranges->count > RANGES_MAX / 2;
        }
        if (ranges->full)
                return 0;
        if (ranges->count == ranges->allocated) {
                size_t wanted = ranges->allocated > 0 ? ranges->allocated * 2 : 64;
                DiskRange *larger = reallocarray(ranges->items, wanted, sizeof(*larger));
                if (!larger)
                        return -ENOMEM;
                ranges->items = larger;
                ranges->allocated = wanted;
        }
        ranges->items[ranges->count++] = range;
        ranges->sum += range.end - range.begin;
        return 0;
}

static uint64_t ranges_size(const DiskRanges *ranges) {
        uint64_t sum = 0;
        for (size_t i = 0; i < ranges->count; i++)
                sum += ranges->items[i].end - ranges->items[i].begin;
        return sum;
}

/* Both in order. */
static uint64_t ranges_common(const DiskRanges *a, const DiskRanges *b) {
        uint64_t sum = 0;
        for (size_t i = 0, k = 0; i < a->count && k < b->count;) {
                uint64_t begin = MAX_OF(a->items[i].begin, b->items[k].begin);
                uint64_t end = MIN_OF(a->items[i].end, b->items[k].end);
                if (begin < end)
                        sum += end - begin;
                if (a->items[i].end < b->items[k].end)
                        i++;
                else
                        k++;
        }
        return sum;
}

/* ---- files ---- */

typedef struct ExtentMap {
        struct fiemap map;
        struct fiemap_extent extents[EXTENTS_AT_ONCE];
} ExtentMap;

/* 1 there is more behind *offset. */
static int add_some(DiskRanges *ranges, int fd, uint64_t *offset) {
        ExtentMap found = {
                .map = { .fm_start = *offset,
                         .fm_length = FIEMAP_MAX_OFFSET - *offset,
                         .fm_extent_count = EXTENTS_AT_ONCE },
        };
        if (ioctl(fd, FS_IOC_FIEMAP, &found) < 0)
                return errno == EOPNOTSUPP || errno == ENOTTY ? 0 : -errno;
        for (size_t i = 0; i < found.map.fm_mapped_extents; i++) {
                const struct fiemap_extent *extent = &found.extents[i];
                const DiskRange range = { extent->fe_physical, extent->fe_physical + extent->fe_length };
                bool shared = (extent->fe_flags & FIEMAP_EXTENT_SHARED) && !(extent->fe_flags & NO_PLACE);
                int r = shared ? ranges_add(ranges, range) : 0;
                if (r < 0 || (extent->fe_flags & FIEMAP_EXTENT_LAST))
                        return r;
                *offset = extent->fe_logical + extent->fe_length;
        }
        return found.map.fm_mapped_extents > 0;
}

static int add_file(DiskRanges *ranges, int directory, const char *name) {
        uint64_t offset = 0;
        int r;
        _cleanup_close_ int fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (fd < 0)
                return errno == ENOENT || errno == ELOOP || errno == ENXIO ? 0 : -errno;
        if (fd_verify_type(fd, S_IFREG) < 0)
                return 0;
        do
                r = add_some(ranges, fd, &offset);
        while (r > 0);
        return r;
}

static int add_tree(DiskRanges *ranges, int root) {
        TreeScan scan;
        const char *name;
        struct stat st;
        int r = tree_scan_init(&scan, root, NULL);
        scan.tolerant = true;
        while (r >= 0) {
                int event = tree_scan_next(&scan, &name, &st);
                if (event <= 0) {
                        r = event;
                        break;
                }
                if (event == TREE_SCAN_ENTRY && S_ISREG(st.st_mode) && st.st_blocks > 0)
                        r = add_file(ranges, tree_scan_directory(&scan), name);
        }
        tree_scan_done(&scan);
        return r;
}

/* ---- the parent ---- */

static bool has_shared_extents(int tree) {
        struct statfs fs;
        return fstatfs(tree, &fs) >= 0 && fs.f_type != EXT4_SUPER_MAGIC && fs.f_type != TMPFS_MAGIC;
}

static bool is_subvolume(int tree) {
        _cleanup_close_ int fd = openat(tree, FILES, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        return fd >= 0 && btrfs_subvolume_is(fd);
}

void shared_extents_init(SharedExtents *shared, int trees, int tree, int64_t parent_id) {
        char path[TREE_PATH_SIZE];
        shared->possible = has_shared_extents(tree);
        shared->parent = -EBADF;
        if (!shared->possible || parent_id == 0)
                return;
        shared->parent =
                path_open(trees, tree_path(parent_id, NULL, path), O_RDONLY | O_DIRECTORY, 0, PATH_BENEATH);
        shared->subvolumes = shared->parent >= 0 && is_subvolume(tree) && is_subvolume(shared->parent);
}

void shared_extents_done(SharedExtents *shared) {
        fd_close_many(shared->levels, shared->level_count);
        shared->level_count = 0;
        shared->parent = fd_close(shared->parent);
        ranges_done(&shared->ranges);
}

/* The directory of the parent that the entry may be in as well. */
static int follow(SharedExtents *shared, const TreeScan *scan) {
        size_t depth = scan->count - 1;
        while (shared->level_count > depth)
                fd_close(shared->levels[--shared->level_count]);
        int above = shared->level_count > 0 ? shared->levels[shared->level_count - 1] : shared->parent;
        if (shared->level_count == depth)
                return above;
        if (depth > SHARED_DEPTH_MAX || shared->level_count + 1 != depth || above < 0)
                return -EBADF;
        int fd = openat(above, shared->entered, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        shared->levels[shared->level_count++] = fd < 0 ? -EBADF : fd;
        return shared->levels[shared->level_count - 1];
}

/* A snapshot of a subvolume has its inodes under their numbers, and any change of one changes its time. */
static bool is_parents(int directory, const char *name, const struct stat *st) {
        struct stat other;
        return directory >= 0 && fstatat(directory, name, &other, AT_SYMLINK_NOFOLLOW) >= 0 &&
               other.st_ino == st->st_ino && other.st_ctim.tv_sec == st->st_ctim.tv_sec &&
               other.st_ctim.tv_nsec == st->st_ctim.tv_nsec;
}

int shared_extents_visit(SharedExtents *shared, const TreeScan *scan, const char *name,
                         const struct stat *st) {
        if (!shared->possible)
                return 0;
        if (shared->subvolumes) {
                int directory = follow(shared, scan);
                if (S_ISDIR(st->st_mode))
                        (void) stpncpy(shared->entered, name, sizeof(shared->entered) - 1);
                if (is_parents(directory, name, st))
                        return 1;
        }
        if (!S_ISREG(st->st_mode) || st->st_blocks == 0)
                return 0;
        return add_file(&shared->ranges, tree_scan_directory(scan), name);
}

int shared_extents_count(SharedExtents *shared, uint64_t *ret) {
        DiskRanges *own = &shared->ranges, parents = { 0 };
        *ret = 0;
        if (own->count == 0)
                return 0;
        ranges_sort(own);
        int root = shared->parent >= 0
                           ? openat(shared->parent, FILES, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                           : -EBADF;
        int r = root >= 0 ? add_tree(&parents, root) : 0;
        fd_close(root);
        ranges_sort(&parents);
        if (r >= 0)
                *ret = own->sum - (ranges_size(own) - ranges_common(own, &parents));
        ranges_done(&parents);
        return r;
}
