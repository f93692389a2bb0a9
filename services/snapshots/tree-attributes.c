/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/tree-attributes.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "services/snapshots/file-copy.h"

#define OPAQUE_XATTR "trusted.overlay.opaque"
#define IMPLIED_MODE 0755

int tree_reset_attributes(int directory, struct timespec time) {
        const struct timespec times[2] = { time, time };
        struct stat st;
        int r = file_remove_xattrs(directory, -EBADF);
        if (r < 0)
                return r;
        if (fstat(directory, &st) < 0 ||
            ((st.st_uid != 0 || st.st_gid != 0) && fchown(directory, 0, 0) < 0) ||
            fchmod(directory, IMPLIED_MODE) < 0 || futimens(directory, times) < 0)
                return -errno;
        return 0;
}

int tree_set_opaque(int directory) {
        return fsetxattr(directory, OPAQUE_XATTR, "y", 1, 0) < 0 ? -errno : 0;
}

bool tree_is_opaque(int directory) {
        char value;
        return fgetxattr(directory, OPAQUE_XATTR, &value, 1) == 1 && value == 'y';
}

int tree_unset_opaque(int directory) {
        return fremovexattr(directory, OPAQUE_XATTR) < 0 && errno != ENODATA && errno != EOPNOTSUPP ? -errno
                                                                                                    : 0;
}
