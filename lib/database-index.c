/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/database-index.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "lib/fd.h"

/* The beginning of it, in the machine's own byte order. */
typedef struct IndexHeader {
        uint32_t version, unused, change;
        uint8_t initialized, checksums;
        uint16_t page_size; /* 1: 65536 */
        uint32_t frames;
} IndexHeader;

#define INDEX_VERSION 3007000U
#define LOG_HEADER 32U
#define FRAME_HEADER 24U
/* Who has it open has a shared lock on that byte (section 2.3). */
#define INDEX_IN_USE 128

static int index_open(int directory, const char *name, int flags) {
        char index[NAME_MAX + 1];
        int n = snprintf(index, sizeof(index), "%s-shm", name);
        if (n < 0 || (size_t) n >= sizeof(index))
                return -ENAMETOOLONG;
        int fd = openat(directory, index, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
        return fd < 0 ? -errno : fd;
}

int database_index_prepare(int directory, const char *name) {
        /* Of the descriptor's own: those of the process would not keep it from itself. */
        struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = INDEX_IN_USE, .l_len = 1 };
        int flags;
        _cleanup_close_ int fd = index_open(directory, name, O_RDWR | O_CREAT);
        if (fd < 0 || fcntl(fd, F_OFD_SETLK, &lock) < 0)
                return 0;
        if (ftruncate(fd, 0) < 0)
                return -errno;
        if (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0 || (flags & FS_NOCOW_FL))
                return 0;
        flags |= FS_NOCOW_FL;
        (void) ioctl(fd, FS_IOC_SETFLAGS, &flags); /* where there is no such thing there is no need */
        return 0;
}

bool database_index_is_in_use(int directory, const char *name) {
        struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = INDEX_IN_USE, .l_len = 1 };
        _cleanup_close_ int fd = index_open(directory, name, O_RDONLY);
        return fd >= 0 && fcntl(fd, F_GETLK, &lock) >= 0 && lock.l_type != F_UNLCK;
}

int database_index_committed(int directory, const char *name, uint64_t *ret) {
        IndexHeader header;
        _cleanup_close_ int fd = index_open(directory, name, O_RDONLY);
        if (fd < 0)
                return fd;
        ssize_t n = pread(fd, &header, sizeof(header), 0);
        if (n < 0)
                return -errno;
        if (n != sizeof(header) || header.version != INDEX_VERSION || !header.initialized)
                return -EUCLEAN;
        uint64_t page_size = header.page_size == 1 ? 65536 : header.page_size;
        *ret = header.frames > 0 ? LOG_HEADER + header.frames * (FRAME_HEADER + page_size) : 0;
        return 0;
}
