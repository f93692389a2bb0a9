/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/tree-hide.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/path.h"
#include "services/snapshots/tree-attributes.h"

#define DIRECTORY_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

/* What the tree itself has there stays; a directory does not show what it would be merged with. */
static int hide_name(int root, const char *name) {
        struct stat st;
        if (fstatat(root, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return errno != ENOENT || mknodat(root, name, S_IFCHR, makedev(0, 0)) < 0 ? -errno : 0;
        if (!S_ISDIR(st.st_mode))
                return 0;
        _cleanup_close_ int directory = openat(root, name, DIRECTORY_FLAGS);
        if (directory < 0)
                return -errno;
        const struct timespec times[2] = { st.st_atim, st.st_mtim };
        int r = tree_set_opaque(directory);
        return r < 0 ? r : futimens(directory, times) < 0 ? -errno : 0;
}

int tree_hide(int root, int below) {
        struct stat st;
        if (fstat(root, &st) < 0)
                return -errno;
        int fd = openat(below, ".", DIRECTORY_FLAGS);
        DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
        if (!stream) {
                int r = -errno;
                fd_close(fd);
                return r;
        }
        int r = 0;
        for (struct dirent *entry; r >= 0 && (entry = readdir(stream));)
                if (path_is_component(entry->d_name))
                        r = hide_name(root, entry->d_name);
        (void) closedir(stream);
        const struct timespec times[2] = { st.st_atim, st.st_mtim };
        return r < 0 ? r : futimens(root, times) < 0 ? -errno : 0;
}
