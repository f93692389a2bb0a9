/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/path.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/fd.h"

/* RESOLVE_IN_ROOT and RESOLVE_BENEATH answer -EAGAIN when a rename elsewhere raced with a ".." of theirs. */
#define OPENAT2_ATTEMPTS 64

int path_open(int directory, const char *path, int flags, mode_t mode, PathResolve resolve) {
        struct open_how how = {
                .flags = (uint64_t) (flags | O_CLOEXEC),
                .mode = (flags & (O_CREAT | O_TMPFILE)) ? mode : 0,
                .resolve = resolve == PATH_IN_ROOT ? RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
                                                   : RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
        };

        if (resolve == PATH_BENEATH && strstr(path, "..")) {
                _cleanup_free_ char *copy = strdup(path);
                if (!copy)
                        return -ENOMEM;
                char *state = NULL;
                for (char *part = strtok_r(copy, "/", &state); part; part = strtok_r(NULL, "/", &state))
                        if (strcmp(part, "..") == 0)
                                return -EXDEV;
        }

        for (unsigned i = 0; i < OPENAT2_ATTEMPTS; i++) {
                long fd = syscall(SYS_openat2, directory, path[0] ? path : ".", &how, sizeof(how));
                if (fd >= 0)
                        return (int) fd;
                if (errno != EAGAIN && errno != EINTR)
                        return -errno;
        }
        return -EAGAIN;
}

bool path_is_component(const char *name) {
        return name && name[0] && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && !strchr(name, '/') &&
               strlen(name) <= NAME_MAX;
}

bool path_is_normal_absolute(const char *path) {
        if (!path || path[0] != '/' || strlen(path) >= PATH_MAX)
                return false;
        _cleanup_free_ char *normal = NULL;
        return path_normalize(path, &normal) >= 0 && strcmp(path, normal) == 0;
}

int path_normalize(const char *path, char **ret) {
        size_t length = strlen(path);
        _cleanup_free_ char *out = malloc(length + 2);
        if (!out)
                return -ENOMEM;

        size_t end = 0;
        for (const char *p = path; *p;) {
                while (*p == '/')
                        p++;
                size_t n = strcspn(p, "/");
                if (n == 0)
                        break;
                if (n == 2 && p[0] == '.' && p[1] == '.') {
                        while (end > 0 && out[--end] != '/')
                                ;
                } else if (!(n == 1 && p[0] == '.')) {
                        out[end++] = '/';
                        memcpy(out + end, p, n);
                        end += n;
                }
                p += n;
        }
        if (end == 0)
                out[end++] = '/';
        out[end] = '\0';
        *ret = TAKE_PTR(out);
        return 0;
}

int path_open_parent(int directory, const char *path, PathResolve resolve, char **ret_name) {
        const char *slash = strrchr(path, '/');
        const char *last = slash ? slash + 1 : path;
        if (!path_is_component(last))
                return -EINVAL;

        _cleanup_free_ char *name = strdup(last);
        _cleanup_free_ char *parent =
                slash ? strndup(path, slash == path ? 1 : (size_t) (slash - path)) : strdup(".");
        if (!name || !parent)
                return -ENOMEM;
        int fd = path_open(directory, parent, O_PATH | O_DIRECTORY, 0, resolve);
        if (fd >= 0)
                *ret_name = TAKE_PTR(name);
        return fd;
}

/* Resolves as far as it can, makes the first missing directory there, and tries again: with symlinks in a
 * container's tree the directory that is missing need not be where the text of the path says. */
int path_make_directories(int directory, const char *path, mode_t mode, PathResolve resolve) {
        /* Mostly all of them are there. */
        int there = path_open(directory, path, O_PATH | O_DIRECTORY, 0, resolve);
        if (there != -ENOENT)
                return there;
        _cleanup_free_ char *copy = strdup(path);
        if (!copy)
                return -ENOMEM;

        _cleanup_close_ int current = path_open(directory, ".", O_PATH | O_DIRECTORY, 0, resolve);
        if (current < 0)
                return current;

        size_t length = strlen(copy);
        for (size_t end = 0; end < length;) {
                size_t start = end + strspn(copy + end, "/");
                end = start + strcspn(copy + start, "/");
                if (start == end)
                        break;

                char saved = copy[end];
                copy[end] = '\0';
                int next = path_open(directory, copy, O_PATH | O_DIRECTORY, 0, resolve);
                if (next == -ENOENT) {
                        if (mkdirat(current, copy + start, mode) < 0 && errno != EEXIST)
                                return -errno;
                        next = path_open(directory, copy, O_PATH | O_DIRECTORY, 0, resolve);
                }
                copy[end] = saved;
                if (next < 0)
                        return next;
                fd_close(current);
                current = next;
        }
        return TAKE_FD(current);
}

static int remove_tree(int parent, const char *name, dev_t device);

static int remove_children(int fd, dev_t device) {
        DIR *stream = fdopendir(fd);
        if (!stream) {
                int r = -errno;
                (void) close(fd);
                return r;
        }
        int r = 0;
        struct dirent *entry;
        while ((errno = 0, entry = readdir(stream))) {
                if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
                        continue;
                int k = entry->d_type == DT_DIR || entry->d_type == DT_UNKNOWN
                                ? remove_tree(dirfd(stream), entry->d_name, device)
                        : unlinkat(dirfd(stream), entry->d_name, 0) < 0 && errno != ENOENT ? -errno
                                                                                           : 0;
                if (k < 0 && r == 0)
                        r = k;
        }
        if (errno && r == 0)
                r = -errno;
        (void) closedir(stream);
        return r;
}

static int remove_tree(int parent, const char *name, dev_t device) {
        int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0) {
                if (errno == ENOENT)
                        return 0;
                if (errno != ENOTDIR && errno != ELOOP)
                        return -errno;
                return unlinkat(parent, name, 0) < 0 && errno != ENOENT ? -errno : 0;
        }

        struct stat st;
        if (fstat(fd, &st) < 0 || st.st_dev != device) {
                (void) close(fd);
                return -EXDEV;
        }
        int r = remove_children(fd, device);
        if (unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
                return r < 0 ? r : -errno;
        return r;
}

int path_remove_tree(int directory, const char *path) {
        _cleanup_free_ char *name = NULL;
        _cleanup_close_ int parent = path_open_parent(directory, path, PATH_BENEATH, &name);
        if (parent == -ENOENT)
                return 0;
        if (parent < 0)
                return parent;
        struct stat st;
        if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return errno == ENOENT ? 0 : -errno;
        return remove_tree(parent, name, st.st_dev);
}
