/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/tree-hide.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "lib/fd.h"
#include "services/snapshots/directory-stream.h"
#include "services/snapshots/tree-attributes.h"

#define DIRECTORY_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

/* What the tree itself has there stays. */
static int hide_name(int root, const char *name) {
        return mknodat(root, name, S_IFCHR, makedev(0, 0)) < 0 && errno != EEXIST ? -errno : 0;
}

/* A directory does not show what it would be merged with. A whiteout says nothing that the mark does not
 * say, unless what lies below has the name. */
static int prepare_name(int root, const char *name) {
        struct stat st;
        if (fstatat(root, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        if (S_ISCHR(st.st_mode) && st.st_rdev == makedev(0, 0))
                return unlinkat(root, name, 0) < 0 ? -errno : 0;
        if (!S_ISDIR(st.st_mode))
                return 0;
        _cleanup_close_ int directory = openat(root, name, DIRECTORY_FLAGS);
        if (directory < 0)
                return -errno;
        const struct timespec times[2] = { st.st_atim, st.st_mtim };
        int r = tree_set_opaque(directory);
        return r < 0 ? r : futimens(directory, times) < 0 ? -errno : 0;
}

static int visit_names(int in, int root, int (*visit)(int root, const char *name)) {
        int fd = openat(in, ".", DIRECTORY_FLAGS);
        DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
        if (!stream) {
                int r = -errno;
                fd_close(fd);
                return r;
        }
        const char *name;
        int r;
        while ((r = directory_stream_next(stream, &name)) > 0) {
                r = visit(root, name);
                if (r < 0)
                        break;
        }
        (void) closedir(stream);
        return r;
}

int tree_hide(int root, int below) {
        struct stat st;
        if (fstat(root, &st) < 0)
                return -errno;
        int r = visit_names(root, root, prepare_name);
        if (r >= 0 && below >= 0)
                r = visit_names(below, root, hide_name);
        const struct timespec times[2] = { st.st_atim, st.st_mtim };
        return r < 0 ? r : futimens(root, times) < 0 ? -errno : 0;
}
