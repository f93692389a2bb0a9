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

static int companion(const char *name, const char *suffix, char ret[NAME_MAX + 1]) {
        int n = snprintf(ret, NAME_MAX + 1, "%s%s", name, suffix);
        return n < 0 || n > NAME_MAX ? -ENAMETOOLONG : 0;
}

/* The beginning of the index (-shm), which says how much of the log is committed (SQLite's documentation,
 * walformat.html, section 2.1). It is in the machine's own byte order. */
typedef struct IndexHeader {
        uint32_t version, unused, change;
        uint8_t initialized, checksums;
        uint16_t page_size; /* 1: 65536 */
        uint32_t frames;
} IndexHeader;

#define INDEX_VERSION 3007000U
#define LOG_HEADER 32U
#define FRAME_HEADER 24U

static int committed_size(int directory, const char *name, uint64_t *ret) {
        char index_name[NAME_MAX + 1];
        IndexHeader header;
        int r = companion(name, "-shm", index_name);
        if (r < 0)
                return r;
        _cleanup_close_ int index = openat(directory, index_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (index < 0)
                return -errno;
        ssize_t n = pread(index, &header, sizeof(header), 0);
        if (n < 0)
                return -errno;
        if (n != sizeof(header) || header.version != INDEX_VERSION || !header.initialized)
                return -EUCLEAN;
        uint64_t page_size = header.page_size == 1 ? 65536 : header.page_size;
        *ret = header.frames > 0 ? LOG_HEADER + header.frames * (FRAME_HEADER + page_size) : 0;
        return 0;
}

/* Who has it open has a shared lock on one byte of the index (same document, section 2.3). */
#define INDEX_IN_USE 128

static bool is_in_use(int directory, const char *name) {
        char index_name[NAME_MAX + 1];
        struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = INDEX_IN_USE, .l_len = 1 };
        if (companion(name, "-shm", index_name) < 0)
                return false;
        _cleanup_close_ int index = openat(directory, index_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        return index >= 0 && fcntl(index, F_GETLK, &lock) >= 0 && lock.l_type != F_UNLCK;
}

/* Where there is no disk, nothing was lost on the way to it. */
static bool is_in_memory(int directory) {
        struct statfs fs;
        return fstatfs(directory, &fs) >= 0 && fs.f_type == TMPFS_MAGIC;
}

int database_renew_closed(int directory, const char *name) {
        char log[NAME_MAX + 1];
        struct stat st;
        int r = companion(name, "-wal", log);
        if (r < 0)
                return r;
        if (fstatat(directory, log, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return errno == ENOENT ? 0 : -errno;
        if (st.st_size == 0 || is_in_memory(directory) || is_in_use(directory, name))
                return 0;
        r = renew_database_file(directory, name); /* takes no room, in most cases */
        return r < 0 ? r : renew_file(directory, log, (uint64_t) st.st_size);
}

int database_renew(int directory, const char *name) {
        char log[NAME_MAX + 1];
        uint64_t size = 0;
        int r = companion(name, "-wal", log);
        if (r >= 0)
                r = committed_size(directory, name, &size);
        if (r >= 0)
                r = renew_file(directory, log, size);
        return r < 0 ? r : renew_database_file(directory, name);
}
