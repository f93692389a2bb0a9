/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/fd.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

int fd_close(int fd) {
        if (fd >= 0) {
                int saved = errno;
                (void) close(fd);
                errno = saved;
        }
        return -EBADF;
}

void fd_close_many(int *fds, size_t count) {
        for (size_t i = 0; i < count; i++)
                fds[i] = fd_close(fds[i]);
}

void (*fd_on_duplicate)(int fd, int copy);

int fd_duplicate(int fd) {
        int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        if (copy < 0)
                return -errno;
        if (fd_on_duplicate)
                fd_on_duplicate(fd, copy);
        return copy;
}

static int fd_change_flag(int fd, int get, int set, int flag, bool on) {
        int flags = fcntl(fd, get);
        if (flags < 0)
                return -errno;
        int wanted = on ? flags | flag : flags & ~flag;
        if (wanted != flags && fcntl(fd, set, wanted) < 0)
                return -errno;
        return 0;
}

int fd_set_nonblocking(int fd, bool on) {
        return fd_change_flag(fd, F_GETFL, F_SETFL, O_NONBLOCK, on);
}

int fd_set_cloexec(int fd, bool on) {
        return fd_change_flag(fd, F_GETFD, F_SETFD, FD_CLOEXEC, on);
}

int fd_write_all(int fd, const void *data, size_t size) {
        const char *p = data;
        while (size > 0) {
                ssize_t n = write(fd, p, size);
                if (n < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                p += n;
                size -= (size_t) n;
        }
        return 0;
}

ssize_t fd_read_full(int fd, void *data, size_t size) {
        char *p = data;
        size_t done = 0;
        while (done < size) {
                ssize_t n = read(fd, p + done, size - done);
                if (n < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                if (n == 0)
                        break;
                done += (size_t) n;
        }
        return (ssize_t) done;
}

int fd_copy(int from, int to) {
        char buffer[65536];
        for (;;) {
                ssize_t n = fd_read_full(from, buffer, sizeof(buffer));
                int r = n > 0 ? fd_write_all(to, buffer, (size_t) n) : (int) n;
                if (n <= 0 || r < 0)
                        return r;
        }
}

/* With room for one byte more than there is, so that the end shows, and for the NUL. Files of the kernel's
 * say that they are empty. */
static size_t first_allocation(int fd) {
        struct stat st;
        return fstat(fd, &st) >= 0 && S_ISREG(st.st_mode) && st.st_size > 0 && st.st_size < INT_MAX
                       ? (size_t) st.st_size + 2
                       : 4096;
}

int fd_read_all(int fd, size_t limit, char **ret_data, size_t *ret_size) {
        _cleanup_free_ char *data = NULL;
        size_t allocated = 0, size = 0;

        for (;;) {
                if (size + 1 >= allocated) {
                        allocated = allocated ? allocated * 2 : first_allocation(fd);
                        if (allocated > limit + 2)
                                allocated = limit + 2;
                        char *larger = realloc(data, allocated);
                        if (!larger)
                                return -ENOMEM;
                        data = larger;
                }
                size_t room = allocated - size - 1;
                ssize_t n = fd_read_full(fd, data + size, room);
                if (n < 0)
                        return (int) n;
                size += (size_t) n;
                if (size > limit)
                        return -EFBIG;
                if ((size_t) n < room)
                        break;
        }

        data[size] = '\0';
        if (ret_size)
                *ret_size = size;
        *ret_data = TAKE_PTR(data);
        return 0;
}

int fd_read_line_at(int directory, const char *path, char **ret) {
        _cleanup_close_ int fd = openat(directory, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (fd < 0)
                return -errno;
        size_t size;
        int r = fd_read_all(fd, 1024U * 1024U, ret, &size);
        if (r < 0)
                return r;
        if (size > 0 && (*ret)[size - 1] == '\n')
                (*ret)[size - 1] = '\0';
        return 0;
}

int fd_write_file_at(int directory, const char *path, const char *text) {
        _cleanup_close_ int fd = openat(directory, path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
        if (fd < 0)
                return -errno;
        size_t size = strlen(text);
        ssize_t n;
        do
                n = write(fd, text, size);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return -errno;
        return (size_t) n == size ? 0 : -EIO;
}

int fd_replace_file_at(int directory, const char *path, const void *data, size_t size, mode_t mode) {
        uint64_t random;
        if (getrandom(&random, sizeof(random), 0) != sizeof(random))
                return -EIO;

        _cleanup_free_ char *temporary = NULL;
        if (asprintf(&temporary, "%s.%016llx~", path, (unsigned long long) random) < 0)
                return -ENOMEM;
        _cleanup_close_ int fd = openat(directory, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
        if (fd < 0)
                return -errno;

        int r = fd_write_all(fd, data, size);
        if (r >= 0 && fsync(fd) < 0)
                r = -errno;
        if (r >= 0 && renameat(directory, temporary, directory, path) < 0)
                r = -errno;
        if (r < 0) {
                (void) unlinkat(directory, temporary, 0);
                return r;
        }
        return fsync(directory) < 0 ? -errno : 0;
}

int fd_new_sealed_memfd(const char *name, const void *data, size_t size) {
        _cleanup_close_ int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (fd < 0)
                return -errno;
        int r = fd_write_all(fd, data, size);
        if (r < 0)
                return r;
        if (fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
                return -errno;
        if (lseek(fd, 0, SEEK_SET) < 0)
                return -errno;
        return TAKE_FD(fd);
}

int fd_look(int fd, struct stat *ret) {
        struct statx found;
        if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_BASIC_STATS, &found) < 0)
                return -errno;
        *ret = (struct stat){
                .st_dev = makedev(found.stx_dev_major, found.stx_dev_minor),
                .st_ino = found.stx_ino,
                .st_mode = found.stx_mode,
                .st_nlink = found.stx_nlink,
                .st_uid = found.stx_uid,
                .st_gid = found.stx_gid,
                .st_rdev = makedev(found.stx_rdev_major, found.stx_rdev_minor),
                .st_size = (off_t) found.stx_size,
        };
        return 0;
}

int fd_verify_type(int fd, mode_t type) {
        struct stat st;
        int r = fd_look(fd, &st);
        if (r < 0)
                return r;
        return (st.st_mode & S_IFMT) == type ? 0 : -EINVAL;
}

int fd_verify_access(int fd, int access) {
        int flags = fcntl(fd, F_GETFL);
        if (flags < 0)
                return -errno;
        if (flags & O_PATH)
                return -EINVAL;
        int mode = flags & O_ACCMODE;
        return mode == O_RDWR || mode == access ? 0 : -EINVAL;
}

int fd_reopen_regular(int fd, int flags, int proc) {
        char path[FD_PROC_PATH_SIZE];
        struct statfs file_system;
        int r = fd_verify_type(fd, S_IFREG);
        if (r < 0)
                return r;
        if (fstatfs(proc, &file_system) < 0)
                return -errno;
        if (file_system.f_type != PROC_SUPER_MAGIC)
                return -ENODEV;
        (void) snprintf(path, sizeof(path), "self/fd/%i", fd);
        int copy = openat(proc, path, flags | O_CLOEXEC);
        return copy < 0 ? -errno : copy;
}

const char *fd_proc_path(int fd, char buffer[FD_PROC_PATH_SIZE]) {
        (void) snprintf(buffer, FD_PROC_PATH_SIZE, "/proc/self/fd/%i", fd);
        return buffer;
}
