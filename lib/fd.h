/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* File descriptors: closing, whole reads and writes, checks of what a foreign descriptor is, memfds. */

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "lib/macros.h"

#define _cleanup_close_ _cleanup_(fd_closep)

/* Closes fd if it is one, keeps errno, returns -EBADF. */
int fd_close(int fd);

static inline void fd_closep(int *fd) {
        *fd = fd_close(*fd);
}

/* Closes every descriptor of an array. */
void fd_close_many(int *fds, size_t count);

/* A duplicate with O_CLOEXEC, at 3 or above. */
int fd_duplicate(int fd);
/* Told of each of these, for who keeps notes about descriptors; or NULL. */
extern void (*fd_on_duplicate)(int fd, int copy);

int fd_set_nonblocking(int fd, bool on);
int fd_set_cloexec(int fd, bool on);

/* All size bytes, or a negative errno. */
int fd_write_all(int fd, const void *data, size_t size);

/* Up to size bytes until end of file; the count. */
ssize_t fd_read_full(int fd, void *data, size_t size);
/* All bytes of one until its end, into the other. */
int fd_copy(int from, int to);

/* The whole rest of a file with a NUL appended; -EFBIG beyond limit bytes. */
int fd_read_all(int fd, size_t limit, char **ret_data, size_t *ret_size);

/* A whole small file of procfs, sysfs or cgroupfs; trailing newline removed. */
int fd_read_line_at(int directory, const char *path, char **ret);

/* Writes text into an existing file with a single write(), as kernel interfaces want it. */
int fd_write_file_at(int directory, const char *path, const char *text);

/* Makes path beneath directory with these bytes: temporary, fsync, rename, fsync of the directory.
 * Nobody ever sees half of it. */
int fd_replace_file_at(int directory, const char *path, const void *data, size_t size, mode_t mode);

/* A sealed memfd that holds these bytes, at offset 0. */
int fd_new_sealed_memfd(const char *name, const void *data, size_t size);

/* What it is, as far as the kernel knows by itself: a file system whose server is somebody else's program is
 * not asked, and need not answer. -EACCES: that one is for its owner only. */
int fd_look(int fd, struct stat *ret);

/* 0 if fd is of that kind (S_IFREG, S_IFDIR, S_IFIFO, S_IFSOCK, S_IFCHR), else -EINVAL. */
int fd_verify_type(int fd, mode_t type);

/* 0 if fd was opened with that access mode (O_RDONLY, O_WRONLY; O_RDWR serves both) and is not O_PATH. */
int fd_verify_access(int fd, int access);

/* Opens the regular file that an O_PATH descriptor stands for; -EINVAL for anything else, of which nothing
 * is opened: with devices and FIFOs that alone has effects. proc is a descriptor of /proc. */
int fd_reopen_regular(int fd, int flags, int proc);

/* "/proc/self/fd/N" in a caller's buffer. */
#define FD_PROC_PATH_SIZE 32
const char *fd_proc_path(int fd, char buffer[FD_PROC_PATH_SIZE]);
