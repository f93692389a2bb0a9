/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/copy-up.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/path.h"

#define DEPTH_MAX 64
#define XATTR_SIZE_MAX 65536
#define CHUNK (1U << 20)

static int copy_directory(int source, int target, int proc, unsigned depth);

static int copy_data(int from, int to) {
        for (;;) {
                ssize_t n = sendfile(to, from, NULL, CHUNK);
                if (n < 0)
                        return -errno;
                if (n == 0)
                        return 0;
        }
}

/* What tmpfs has no room for (user.*, before Linux 6.6) is left out. */
static int copy_xattrs(int from, int to) {
        _cleanup_free_ char *names = malloc(XATTR_SIZE_MAX), *value = malloc(XATTR_SIZE_MAX);
        if (!names || !value)
                return -ENOMEM;
        ssize_t length = flistxattr(from, names, XATTR_SIZE_MAX);
        if (length < 0)
                return errno == EOPNOTSUPP ? 0 : -errno;
        for (const char *name = names; name < names + length; name += strlen(name) + 1) {
                ssize_t n = fgetxattr(from, name, value, XATTR_SIZE_MAX);
                if (n >= 0 && fsetxattr(to, name, value, (size_t) n, 0) < 0 && errno != EOPNOTSUPP &&
                    errno != EPERM)
                        return -errno;
        }
        return 0;
}

/* After the content: writing changes times, and a change of owner takes mode bits away. */
int copy_up_attributes(int from, int to) {
        struct stat st;
        if (fstat(from, &st) < 0 || fchown(to, st.st_uid, st.st_gid) < 0 ||
            fchmod(to, st.st_mode & 07777) < 0)
                return -errno;
        int r = copy_xattrs(from, to);
        const struct timespec times[] = { st.st_atim, st.st_mtim };
        return r >= 0 && futimens(to, times) < 0 ? -errno : r;
}

static int copy_file(int place, int target, const char *name, int proc) {
        _cleanup_close_ int from = fd_reopen_regular(place, O_RDONLY | O_NOCTTY, proc);
        if (from < 0)
                return from;
        _cleanup_close_ int to =
                openat(target, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        int r = to < 0 ? -errno : copy_data(from, to);
        return r < 0 ? r : copy_up_attributes(from, to);
}

static int copy_link(int place, int target, const char *name, const struct stat *st) {
        char text[PATH_MAX];
        ssize_t n = readlinkat(place, "", text, sizeof(text) - 1);
        if (n < 0)
                return -errno;
        text[n] = '\0';
        if (symlinkat(text, target, name) < 0 ||
            fchownat(target, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        return 0;
}

static int copy_below(int parent, int target, const char *name, int proc, unsigned depth) {
        _cleanup_close_ int from = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (from < 0 || mkdirat(target, name, 0700) < 0)
                return -errno;
        _cleanup_close_ int to = openat(target, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int r = to < 0 ? -errno : copy_directory(from, to, proc, depth + 1);
        return r < 0 ? r : copy_up_attributes(from, to);
}

/* Devices, FIFOs and sockets stay behind: their names would mean something else in the copy. */
static int copy_entry(int source, int target, const char *name, int proc, unsigned depth) {
        struct stat st;
        _cleanup_close_ int place = openat(source, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (place < 0 || fstat(place, &st) < 0)
                return -errno;
        if (S_ISREG(st.st_mode))
                return copy_file(place, target, name, proc);
        if (S_ISLNK(st.st_mode))
                return copy_link(place, target, name, &st);
        return S_ISDIR(st.st_mode) ? copy_below(source, target, name, proc, depth) : 0;
}

static int copy_directory(int source, int target, int proc, unsigned depth) {
        if (depth > DEPTH_MAX)
                return -ELOOP;
        int copy = openat(source, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *stream = copy < 0 ? NULL : fdopendir(copy);
        if (!stream) {
                int r = -errno;
                fd_close(copy);
                return r;
        }
        int r = 0;
        struct dirent *entry;
        while (r >= 0 && (errno = 0, entry = readdir(stream)))
                if (path_is_component(entry->d_name))
                        r = copy_entry(source, target, entry->d_name, proc, depth);
        if (r >= 0 && errno != 0)
                r = -errno;
        (void) closedir(stream);
        return r;
}

int copy_up(int source, int target, int proc) {
        _cleanup_close_ int from = openat(source, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (from < 0)
                return -errno;
        _cleanup_close_ int to = openat(target, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return to < 0 ? -errno : copy_directory(from, to, proc, 0);
}
