/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/tasks/bind-source.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"

#define HANDLE_MAX MAX_HANDLE_SZ

typedef union HandleBuffer {
        struct file_handle handle;
        unsigned char space[sizeof(struct file_handle) + HANDLE_MAX];
} HandleBuffer;

void bind_source_done(BindSource *source) {
        source->fd = fd_close(source->fd);
        source->identity = mfree(source->identity);
}

/* "device:inode:handle:", where the handle, which names the inode's generation too, is empty on file systems
 * without handles. */
static int identify(int fd, char **ret) {
        HandleBuffer buffer = { .handle.handle_bytes = HANDLE_MAX };
        char handle[2 * HANDLE_MAX + 1] = "";
        struct stat st;
        int mount_id;
        int r = fd_look(fd, &st);
        if (r < 0)
                return r;
        if (name_to_handle_at(fd, "", &buffer.handle, &mount_id, AT_EMPTY_PATH) >= 0)
                for (unsigned i = 0; i < buffer.handle.handle_bytes; i++)
                        (void) snprintf(handle + 2 * (size_t) i, 3, "%02x", buffer.handle.f_handle[i]);
        int n = asprintf(ret, "%llx:%llx:%s:", (unsigned long long) st.st_dev,
                         (unsigned long long) st.st_ino, handle);
        return n < 0 ? -ENOMEM : 0;
}

static int path_of(int fd, char path[PATH_MAX]) {
        char link[FD_PROC_PATH_SIZE];
        ssize_t n = readlink(fd_proc_path(fd, link), path, PATH_MAX);
        if (n < 0)
                return -errno;
        if (n >= PATH_MAX)
                return -ENAMETOOLONG;
        path[n] = '\0';
        return 0;
}

int bind_source_new(int fd, BindSource *ret, Fault *fault) {
        _cleanup_(bind_source_done) BindSource source = { .fd = -EBADF };
        _cleanup_free_ char *identity = NULL;
        char path[PATH_MAX];
        struct stat st;

        int r = fd_look(fd, &st);
        if (r < 0)
                return fault_set_errno(fault, r, "binds: the source");
        if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
                return fault_set(fault, -EINVAL, "binds: the source is neither a file nor a directory");
        r = identify(fd, &identity);
        if (r >= 0)
                r = path_of(fd, path);
        if (r < 0)
                return fault_set_errno(fault, r, "binds: the source");
        if (asprintf(&source.identity, "%s%s", identity, path) < 0) {
                source.identity = NULL;
                return -ENOMEM;
        }
        source.fd = fd_duplicate(fd);
        if (source.fd < 0)
                return source.fd;
        *ret = TAKE(source, ((BindSource){ .fd = -EBADF }));
        return 0;
}

int bind_source_load(const char *identity, BindSource *ret) {
        char *copy = strdup(identity);
        if (!copy)
                return -ENOMEM;
        *ret = (BindSource){ .fd = -EBADF, .identity = copy };
        return 0;
}

int bind_source_reopen(BindSource *source, Fault *fault) {
        _cleanup_free_ char *identity = NULL;
        if (source->fd >= 0)
                return 0;
        const char *path = strchr(source->identity, '/');
        if (!path)
                return -EBADMSG;
        _cleanup_close_ int fd = open(path, O_PATH | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                return fault_set(fault, -EBUSY, "the bind source %s is not there any more", path);
        int r = identify(fd, &identity);
        if (r < 0)
                return r;
        size_t length = strlen(identity);
        if (length != (size_t) (path - source->identity) || memcmp(identity, source->identity, length) != 0)
                return fault_set(fault, -EBUSY,
                                 "what is at %s now is not the bind source that was handed over", path);
        source->fd = TAKE_FD(fd);
        return 0;
}
