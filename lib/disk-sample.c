/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/disk-sample.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "lib/fd.h"

#define SIZE 4096

int disk_sample_new(int directory) {
        static const char bytes[SIZE] = "sample";
        _cleanup_close_ int fd = openat(directory, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        if (fd < 0)
                return -errno;
        int r = fd_write_all(fd, bytes, sizeof(bytes));
        return r < 0 ? r : TAKE_FD(fd);
}

bool disk_sample_is_readable(int fd) {
        char bytes[SIZE];
        return fsync(fd) >= 0 && posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0 &&
               pread(fd, bytes, sizeof(bytes), 0) == sizeof(bytes);
}
