/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/file-copy.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/limits.h"
#include "lib/path.h"
#include "lib/strv.h"
#include "services/snapshots/space-reserve.h"

#define COPY_AT_ONCE ((size_t) 1024 * 1024 * 1024)
#define BUFFER_SIZE ((size_t) 256 * 1024)
#define COPY_UNCHECKED ((off_t) 16 * 1024 * 1024) /* bytes after which the reserve is looked at */

/* ---- contents ---- */

static int write_range(int from, off_t from_offset, int to, off_t to_offset, off_t size) {
        _cleanup_free_ char *buffer = malloc(BUFFER_SIZE);
        if (!buffer)
                return -ENOMEM;
        while (size > 0) {
                ssize_t n = pread(from, buffer, MIN_OF(BUFFER_SIZE, (size_t) size), from_offset);
                if (n == 0)
                        return 0; /* somebody has made it shorter */
                for (ssize_t done = 0, w; n > 0 && done < n; done += w) {
                        w = pwrite(to, buffer + done, (size_t) (n - done), to_offset + done);
                        if (w < 0)
                                return -errno;
                }
                if (n < 0)
                        return -errno;
                from_offset += n;
                to_offset += n;
                size -= n;
        }
        return 0;
}

int file_copy_range(int from, off_t from_offset, int to, off_t to_offset, off_t size) {
        while (size > 0) {
                ssize_t n = copy_file_range(from, &from_offset, to, &to_offset,
                                            MIN_OF(COPY_AT_ONCE, (size_t) size), 0);
                /* Between two file systems, or on one that can't. */
                if (n < 0 && (errno == EXDEV || errno == EINVAL || errno == EOPNOTSUPP || errno == ENOSYS))
                        return write_range(from, from_offset, to, to_offset, size);
                if (n < 0)
                        return -errno;
                if (n == 0)
                        return 0;
                size -= n;
        }
        return 0;
}

/* Only what is not a hole. Before the first bytes, whoever copies the tree has looked at the reserve. */
static int copy_contents(int from, int to, off_t size) {
        if (ioctl(to, FICLONE, from) >= 0)
                return 0;
        if (ftruncate(to, size) < 0)
                return -errno;
        for (off_t start = 0; start < size;) {
                start = lseek(from, start, SEEK_DATA);
                if (start < 0)
                        return errno == ENXIO ? 0 : -errno;
                off_t end = lseek(from, start, SEEK_HOLE);
                if (end < 0)
                        return -errno;
                end = MIN_OF(end, start + COPY_UNCHECKED);
                int r = file_copy_range(from, start, to, start, end - start);
                if (r >= 0 && (start = end) < size)
                        r = space_reserve_check(to, "copy the file", NULL);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* ---- attributes ---- */

#define LABEL_XATTR "security.selinux" /* can be replaced, but not removed */

static bool is_copied(const char *name) {
        return !string_after(name, "trusted.overlay.");
}

static int copy_xattrs(int from, int to) {
        _cleanup_free_ char *names = malloc(LIMIT_XATTR_SIZE), *value = malloc(LIMIT_XATTR_SIZE);
        if (!names || !value)
                return -ENOMEM;
        ssize_t size = flistxattr(from, names, LIMIT_XATTR_SIZE);
        if (size < 0)
                return errno == EOPNOTSUPP ? 0 : -errno;
        for (const char *name = names; name < names + size; name += strlen(name) + 1) {
                if (!is_copied(name))
                        continue;
                ssize_t length = fgetxattr(from, name, value, LIMIT_XATTR_SIZE);
                if (length < 0)
                        return -errno;
                if (fsetxattr(to, name, value, (size_t) length, 0) < 0 && errno != EOPNOTSUPP)
                        return -errno;
        }
        return 0;
}

int file_remove_xattrs(int fd, int but_of) {
        _cleanup_free_ char *names = malloc(LIMIT_XATTR_SIZE);
        if (!names)
                return -ENOMEM;
        ssize_t size = flistxattr(fd, names, LIMIT_XATTR_SIZE);
        if (size < 0)
                return errno == EOPNOTSUPP ? 0 : -errno;
        for (const char *name = names; name < names + size; name += strlen(name) + 1) {
                if (!is_copied(name) || string_equal(name, LABEL_XATTR) ||
                    (but_of >= 0 && fgetxattr(but_of, name, NULL, 0) >= 0))
                        continue;
                if (fremovexattr(fd, name) < 0 && errno != ENODATA)
                        return -errno;
        }
        return 0;
}

/* The order matters: a new owner takes setuid bits and file capabilities away, and all of it the times. */
int file_copy_attributes(int from, int to) {
        struct stat st, old;
        if (fstat(from, &st) < 0 || fstat(to, &old) < 0)
                return -errno;
        if ((st.st_uid != old.st_uid || st.st_gid != old.st_gid) && fchown(to, st.st_uid, st.st_gid) < 0)
                return -errno;
        if (fchmod(to, st.st_mode & 07777) < 0)
                return -errno;
        int r = file_remove_xattrs(to, from);
        if (r >= 0)
                r = copy_xattrs(from, to);
        if (r < 0)
                return r;
        const struct timespec times[2] = { st.st_atim, st.st_mtim };
        return futimens(to, times) < 0 ? -errno : 0;
}

int file_copy(int from, int to, const char *name) {
        struct stat st;
        /* What was a file a moment ago may be a pipe now, if somebody still writes there. */
        _cleanup_close_ int source =
                path_open(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0, PATH_BENEATH);
        if (source < 0)
                return source;
        if (fstat(source, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return -ESTALE;
        _cleanup_close_ int target = path_open(to, name, O_WRONLY | O_CREAT | O_EXCL, 0600, PATH_BENEATH);
        if (target < 0)
                return target;
        int r = copy_contents(source, target, st.st_size);
        return r < 0 ? r : file_copy_attributes(source, target);
}

/* ---- what is not opened ---- */

/* By name, as there are no such calls by directory before Linux 6.13. */
static int copy_xattrs_by_name(int from, int to, const char *name) {
        char names[4096], value[4096];
        if (fchdir(from) < 0)
                return -errno;
        ssize_t size = llistxattr(name, names, sizeof(names));
        if (size <= 0)
                return size == 0 || errno == EOPNOTSUPP ? 0 : -errno;
        for (const char *key = names; key < names + size; key += strlen(key) + 1) {
                if (!is_copied(key))
                        continue;
                if (fchdir(from) < 0)
                        return -errno;
                ssize_t length = lgetxattr(name, key, value, sizeof(value));
                if (length < 0 || fchdir(to) < 0)
                        return -errno;
                if (lsetxattr(name, key, value, (size_t) length, 0) < 0 && errno != EOPNOTSUPP)
                        return -errno;
        }
        return 0;
}

static int make_link(int from, int to, const char *name, off_t size) {
        _cleanup_free_ char *target = calloc(1, (size_t) size + 1);
        if (!target)
                return -ENOMEM;
        ssize_t n = readlinkat(from, name, target, (size_t) size + 1);
        if (n < 0)
                return -errno;
        if (n > size)
                return -ESTALE;
        return symlinkat(target, to, name) < 0 ? -errno : 0;
}

int file_copy_special(int from, int to, const char *name, const struct stat *st) {
        const struct timespec times[2] = { st->st_atim, st->st_mtim };
        int r = 0;
        if (S_ISLNK(st->st_mode))
                r = make_link(from, to, name, st->st_size);
        else if (mknodat(to, name, (st->st_mode & S_IFMT) | 0600, st->st_rdev) < 0)
                r = -errno;
        if (r < 0)
                return r;
        if ((st->st_uid != 0 || st->st_gid != 0) &&
            fchownat(to, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        if (!S_ISLNK(st->st_mode) && fchmodat(to, name, st->st_mode & 07777, 0) < 0)
                return -errno;
        r = copy_xattrs_by_name(from, to, name);
        if (r < 0)
                return r;
        return utimensat(to, name, times, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}
