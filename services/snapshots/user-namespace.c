/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/user-namespace.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/strv.h"

#define CACHE_SIZE 8
#define PROC_PATH_SIZE 48

typedef struct CachedNamespace {
        int fd; /* -EBADF: empty */
        uint64_t used;
        UserMap uids;
        UserMap gids;
} CachedNamespace;

struct UserNamespaces {
        uint64_t uses;
        CachedNamespace cached[CACHE_SIZE];
};

void user_map_done(UserMap *map) {
        free(map->ranges);
        *map = (UserMap){ 0 };
}

static bool user_map_equal(const UserMap *a, const UserMap *b) {
        return a->count == b->count && memcmp(a->ranges, b->ranges, a->count * sizeof(*a->ranges)) == 0;
}

static int user_map_copy(const UserMap *map, UserMap *ret) {
        UserMapRange *ranges = calloc(map->count, sizeof(*ranges));
        if (!ranges)
                return -ENOMEM;
        memcpy(ranges, map->ranges, map->count * sizeof(*ranges));
        *ret = (UserMap){ .ranges = ranges, .count = map->count };
        return 0;
}

/* ---- making one ---- */

static int write_map(pid_t pid, const char *name, const UserMap *map) {
        char path[PROC_PATH_SIZE];
        _cleanup_free_ char *text = NULL;
        size_t size = 0;
        FILE *stream = open_memstream(&text, &size);
        if (!stream)
                return -ENOMEM;
        for (size_t i = 0; i < map->count; i++)
                (void) fprintf(stream, "%u %u %u\n", map->ranges[i].inside, map->ranges[i].outside,
                               map->ranges[i].count);
        if (fclose(stream) != 0)
                return -ENOMEM;
        (void) snprintf(path, sizeof(path), "/proc/%i/%s", pid, name);
        return fd_write_file_at(AT_FDCWD, path, text);
}

/* A process that does nothing but be in it, until it is told that it was looked at. */
static pid_t spawn(int *ret_end) {
        int ends[2];
        if (pipe2(ends, O_CLOEXEC) < 0)
                return -errno;
        long pid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL);
        if (pid == 0) {
                char byte;
                (void) close(ends[1]);
                (void) !read(ends[0], &byte, 1);
                _exit(0);
        }
        int r = pid < 0 ? -errno : 0;
        fd_close(ends[0]);
        if (r < 0) {
                fd_close(ends[1]);
                return r;
        }
        *ret_end = ends[1];
        return (pid_t) pid;
}

static int namespace_make(const UserMap *uids, const UserMap *gids) {
        char path[PROC_PATH_SIZE];
        int end = -EBADF;
        pid_t pid = spawn(&end);
        if (pid < 0)
                return pid;
        int fd = -EBADF;
        int r = write_map(pid, "uid_map", uids);
        if (r >= 0)
                r = write_map(pid, "gid_map", gids);
        if (r >= 0) {
                (void) snprintf(path, sizeof(path), "/proc/%i/ns/user", pid);
                fd = open(path, O_RDONLY | O_CLOEXEC);
                r = fd < 0 ? -errno : fd;
        }
        fd_close(end);
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
                ;
        return r;
}

/* ---- keeping some ---- */

int user_namespaces_new(UserNamespaces **ret) {
        UserNamespaces *cache = new0(UserNamespaces, 1);
        if (!cache)
                return -ENOMEM;
        for (size_t i = 0; i < CACHE_SIZE; i++)
                cache->cached[i].fd = -EBADF;
        *ret = cache;
        return 0;
}

static void cached_done(CachedNamespace *cached) {
        cached->fd = fd_close(cached->fd);
        user_map_done(&cached->uids);
        user_map_done(&cached->gids);
}

UserNamespaces *user_namespaces_free(UserNamespaces *cache) {
        for (size_t i = 0; cache && i < CACHE_SIZE; i++)
                cached_done(&cache->cached[i]);
        return mfree(cache);
}

int user_namespaces_get(UserNamespaces *cache, const UserMap *uids, const UserMap *gids, Fault *fault) {
        CachedNamespace *oldest = &cache->cached[0];
        cache->uses++;
        for (size_t i = 0; i < CACHE_SIZE; i++) {
                CachedNamespace *cached = &cache->cached[i];
                if (cached->fd >= 0 && user_map_equal(&cached->uids, uids) &&
                    user_map_equal(&cached->gids, gids)) {
                        cached->used = cache->uses;
                        return cached->fd;
                }
                if (cached->used < oldest->used)
                        oldest = cached;
        }
        _cleanup_close_ int fd = namespace_make(uids, gids);
        if (fd == -EINVAL || fd == -EPERM)
                return fault_set(
                        fault, -EINVAL,
                        "options 'uid-map' and 'gid-map': the kernel does not take these maps (ranges "
                        "overlap, or are empty)");
        if (fd < 0)
                return fault_set_errno(fault, fd, "Can't make a user namespace");
        cached_done(oldest);
        int r = user_map_copy(uids, &oldest->uids);
        if (r >= 0)
                r = user_map_copy(gids, &oldest->gids);
        if (r < 0)
                return r;
        oldest->used = cache->uses;
        oldest->fd = TAKE_FD(fd);
        return oldest->fd;
}

/* ---- a caller's own ---- */

/* Asks no file system, unlike ioctl() and fstat(): that of the caller's file need never answer. */
static bool is_user_namespace(int fd) {
        char path[FD_PROC_PATH_SIZE], target[sizeof("user:[18446744073709551615]")];
        ssize_t n = readlink(fd_proc_path(fd, path), target, sizeof(target) - 1);
        if (n < 0)
                return false;
        target[n] = '\0';
        return string_after(target, "user:[");
}

/* Its owner can become any user in it, and has written its maps or had them written. */
int user_namespace_check(int fd, uid_t user, Fault *fault) {
        struct stat own, given;
        uid_t owner;
        if (!is_user_namespace(fd) || ioctl(fd, NS_GET_NSTYPE) != CLONE_NEWUSER ||
            ioctl(fd, NS_GET_OWNER_UID, &owner) < 0 || fstat(fd, &given) < 0)
                return fault_set(fault, -EINVAL, "option 'userns': is no user namespace");
        if (stat("/proc/self/ns/user", &own) >= 0 && own.st_ino == given.st_ino &&
            own.st_dev == given.st_dev)
                return fault_set(fault, -EINVAL, "option 'userns': is the machine's own");
        if (user != 0 && owner != user)
                return fault_set(fault, -EACCES, "option 'userns': the user namespace is not yours");
        return 0;
}
