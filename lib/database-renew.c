/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/database-renew.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "lib/database-index.h"
#include "lib/fd.h"

#define PIECE ((size_t) 64 * 1024)
#define COPY_FLAGS (O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC)

static int copy(int from, int to, uint64_t size) {
        char buffer[PIECE];
        while (size > 0) {
                ssize_t n = read(from, buffer, MIN_OF(size, sizeof(buffer)));
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        break;
                int r = fd_write_all(to, buffer, (size_t) n);
                if (r < 0)
                        return r;
                size -= (uint64_t) n;
        }
        return fsync(to) < 0 ? -errno : 0;
}

/* Killed at any point, one of the two has the name. */
static int renew_file(int directory, const char *name, uint64_t size) {
        char new_name[NAME_MAX + 1];
        int n = snprintf(new_name, sizeof(new_name), "%s-new", name);
        if (n < 0 || (size_t) n >= sizeof(new_name))
                return -ENAMETOOLONG;
        _cleanup_close_ int from = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (from < 0)
                return errno == ENOENT ? 0 : -errno;
        _cleanup_close_ int to = openat(directory, new_name, COPY_FLAGS, 0600);
        int r = to < 0 ? -errno : copy(from, to, size);
        if (r >= 0 && renameat(directory, new_name, directory, name) < 0)
                r = -errno;
        if (r < 0)
                (void) unlinkat(directory, new_name, 0);
        return r < 0 ? r : fsync(directory) < 0 ? -errno : 0;
}

/* The pages of it that are in memory. */
static int count_cached(int fd, uint64_t size, size_t *ret) {
        uint64_t page = (uint64_t) sysconf(_SC_PAGESIZE);
        size_t pages = (size_t) ((size + page - 1) / page), count = 0;
        if (pages == 0) {
                *ret = 0;
                return 0;
        }
        _cleanup_free_ unsigned char *cached = malloc(pages);
        if (!cached)
                return -ENOMEM;
        void *mapping = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
        if (mapping == MAP_FAILED)
                return -errno;
        int r = mincore(mapping, size, cached) < 0 ? -errno : 0;
        (void) munmap(mapping, size);
        for (size_t i = 0; r >= 0 && i < pages; i++)
                count += cached[i] & 1;
        if (r >= 0)
                *ret = count;
        return r;
}

/* 1 if nothing of it is in memory any more: who reads it now reads the disk. 0 if that can't be had. */
static int forget_pages(int fd) {
        size_t cached = 1;
        struct stat st;
        /* What failed before, and nobody has heard of yet, is told once: that is not to be believed again,
         * and is no reason to refuse now. */
        if ((fsync(fd) < 0 && fsync(fd) < 0) || fstat(fd, &st) < 0)
                return -errno;
        if (posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0 ||
            count_cached(fd, (uint64_t) st.st_size, &cached) < 0)
                return 0;
        return cached == 0;
}

/* What could not be written into the database is in the log still. */
static int renew_database_file(int directory, const char *name) {
        _cleanup_close_ int fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return errno == ENOENT ? 0 : -errno;
        int r = forget_pages(fd);
        if (r == 0)
                r = renew_file(directory, name, UINT64_MAX);
        return r < 0 ? r : 0;
}

static bool log_name(const char *name, char ret[NAME_MAX + 1]) {
        int n = snprintf(ret, NAME_MAX + 1, "%s-wal", name);
        return n >= 0 && n <= NAME_MAX;
}

/* Where there is no disk, nothing was lost on the way to it. */
static bool is_in_memory(int directory) {
        struct statfs fs;
        return fstatfs(directory, &fs) >= 0 && fs.f_type == TMPFS_MAGIC;
}

int database_renew_closed(int directory, const char *name) {
        char log[NAME_MAX + 1];
        struct stat st;
        if (!log_name(name, log))
                return -ENAMETOOLONG;
        if (fstatat(directory, log, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return errno == ENOENT ? 0 : -errno;
        if (st.st_size == 0 || is_in_memory(directory) || database_index_is_in_use(directory, name))
                return 0;
        int r = renew_database_file(directory, name); /* takes no room, in most cases */
        return r < 0 ? r : renew_file(directory, log, (uint64_t) st.st_size);
}

int database_renew(int directory, const char *name) {
        char log[NAME_MAX + 1];
        uint64_t size = 0;
        int r = log_name(name, log) ? database_index_committed(directory, name, &size) : -ENAMETOOLONG;
        if (r >= 0)
                r = renew_file(directory, log, size);
        return r < 0 ? r : renew_database_file(directory, name);
}
