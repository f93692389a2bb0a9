/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/file-compare.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "lib/fd.h"

#define BUFFER_SIZE ((size_t) 128 * 1024)

static bool is_same_time(const struct timespec *a, const struct timespec *b) {
        return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool is_same_stat(const struct stat *a, const struct stat *b) {
        if (a->st_mode != b->st_mode || a->st_uid != b->st_uid || a->st_gid != b->st_gid ||
            !is_same_time(&a->st_mtim, &b->st_mtim))
                return false;
        if (S_ISCHR(a->st_mode) || S_ISBLK(a->st_mode))
                return a->st_rdev == b->st_rdev;
        return S_ISDIR(a->st_mode) || a->st_size == b->st_size;
}

/* Any change of a file changes its change time; numbers alone are given again. */
static bool is_same_inode(const struct stat *a, const struct stat *b) {
        return a->st_ino == b->st_ino && is_same_time(&a->st_ctim, &b->st_ctim);
}

static int same_links(const FilePlace *old, const FilePlace *new) {
        char a[PATH_MAX], b[PATH_MAX];
        ssize_t size_a = readlinkat(old->directory, old->name, a, sizeof(a));
        ssize_t size_b = size_a < 0 ? -1 : readlinkat(new->directory, new->name, b, sizeof(b));
        if (size_b < 0)
                return -errno;
        return size_a == size_b && memcmp(a, b, (size_t) size_a) == 0;
}

static int open_file(const FilePlace *place) {
        int fd = openat(place->directory, place->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
}

/* Where the next data are, or the end. */
static off_t next_data(int fd, off_t at) {
        off_t data = lseek(fd, at, SEEK_DATA);
        return data < 0 && errno == ENXIO ? lseek(fd, 0, SEEK_END) : data;
}

/* What is a hole in both need not be read. */
static int skip_holes(int a, int b) {
        off_t at = lseek(a, 0, SEEK_CUR);
        off_t next = MIN_OF(next_data(a, at), next_data(b, at));
        next = MAX_OF(next, at);
        return lseek(a, next, SEEK_SET) < 0 || lseek(b, next, SEEK_SET) < 0 ? -errno : 0;
}

static int same_data(FileCompare *compare, const FilePlace *old, const FilePlace *new) {
        _cleanup_close_ int a = open_file(old);
        _cleanup_close_ int b = a < 0 ? -EBADF : open_file(new);
        if (a < 0 || b < 0)
                return a < 0 ? a : b;
        if (!compare->old_data)
                compare->old_data = malloc(BUFFER_SIZE);
        if (!compare->new_data)
                compare->new_data = malloc(BUFFER_SIZE);
        if (!compare->old_data || !compare->new_data)
                return -ENOMEM;
        for (;;) {
                ssize_t size_a = fd_read_full(a, compare->old_data, BUFFER_SIZE);
                ssize_t size_b = size_a < 0 ? size_a : fd_read_full(b, compare->new_data, BUFFER_SIZE);
                if (size_b < 0)
                        return (int) size_b;
                if (size_a != size_b || memcmp(compare->old_data, compare->new_data, (size_t) size_a) != 0)
                        return 0;
                if (size_a == 0)
                        return 1;
                int r = compare->new_data[size_a - 1] == 0 ? skip_holes(a, b) : 0;
                if (r < 0)
                        return r;
        }
}

int file_compare(FileCompare *compare, const FilePlace *old, const FilePlace *new) {
        if (!is_same_stat(&old->st, &new->st))
                return 0;
        if (compare->same_inodes && !S_ISDIR(new->st.st_mode) && is_same_inode(&old->st, &new->st))
                return 1;
        int r = file_xattrs_read(&compare->old_xattrs, old->directory, old->name);
        if (r >= 0)
                r = file_xattrs_read(&compare->new_xattrs, new->directory, new->name);
        if (r < 0 || !file_xattrs_equal(&compare->old_xattrs, &compare->new_xattrs))
                return r;
        if (S_ISLNK(new->st.st_mode))
                return same_links(old, new);
        return S_ISREG(new->st.st_mode) ? same_data(compare, old, new) : 1;
}

void file_compare_done(FileCompare *compare) {
        file_xattrs_done(&compare->old_xattrs);
        file_xattrs_done(&compare->new_xattrs);
        free(compare->old_data);
        free(compare->new_data);
}
