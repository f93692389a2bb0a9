/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/database-renew.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
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

int database_renew_log(int directory, const char *name) {
        char log[NAME_MAX + 1];
        struct stat st;
        int r = companion(name, "-wal", log);
        if (r < 0)
                return r;
        if (fstatat(directory, log, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return errno == ENOENT ? 0 : -errno;
        return st.st_size == 0 || is_in_use(directory, name)
                       ? 0
                       : renew_file(directory, log, (uint64_t) st.st_size);
}

int database_renew(int directory, const char *name) {
        char log[NAME_MAX + 1];
        uint64_t size = 0;
        int r = companion(name, "-wal", log);
        if (r >= 0)
                r = committed_size(directory, name, &size);
        if (r >= 0)
                r = renew_file(directory, log, size);
        return r < 0 ? r : renew_file(directory, name, UINT64_MAX);
}
