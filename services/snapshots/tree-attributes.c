/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/tree-attributes.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "lib/limits.h"
#include "lib/macros.h"
#include "lib/strv.h"

#define OPAQUE_XATTR "trusted.overlay.opaque"
#define LABEL_XATTR "security.selinux" /* can be replaced, but not removed */
#define IMPLIED_MODE 0755

static int copy_xattrs(int from, int to) {
        _cleanup_free_ char *names = malloc(LIMIT_XATTR_SIZE), *value = malloc(LIMIT_XATTR_SIZE);
        if (!names || !value)
                return -ENOMEM;
        ssize_t size = flistxattr(from, names, LIMIT_XATTR_SIZE);
        if (size < 0)
                return errno == EOPNOTSUPP ? 0 : -errno;
        for (const char *name = names; name < names + size; name += strlen(name) + 1) {
                if (string_after(name, "trusted."))
                        continue;
                ssize_t length = fgetxattr(from, name, value, LIMIT_XATTR_SIZE);
                if (length < 0)
                        return -errno;
                if (fsetxattr(to, name, value, (size_t) length, 0) < 0 && errno != EOPNOTSUPP)
                        return -errno;
        }
        return 0;
}

/* What another parent left. from: -EBADF keeps none. */
static int remove_other_xattrs(int from, int to) {
        _cleanup_free_ char *names = malloc(LIMIT_XATTR_SIZE);
        if (!names)
                return -ENOMEM;
        ssize_t size = flistxattr(to, names, LIMIT_XATTR_SIZE);
        if (size < 0)
                return errno == EOPNOTSUPP ? 0 : -errno;
        for (const char *name = names; name < names + size; name += strlen(name) + 1) {
                if (string_after(name, "trusted.") || string_equal(name, LABEL_XATTR) ||
                    (from >= 0 && fgetxattr(from, name, NULL, 0) >= 0))
                        continue;
                if (fremovexattr(to, name) < 0 && errno != ENODATA)
                        return -errno;
        }
        return 0;
}

static int set_owner_and_mode(int directory, uid_t uid, gid_t gid, mode_t mode) {
        struct stat st;
        if (fstat(directory, &st) < 0)
                return -errno;
        if ((st.st_uid != uid || st.st_gid != gid) && fchown(directory, uid, gid) < 0)
                return -errno;
        return fchmod(directory, mode) < 0 ? -errno : 0;
}

int tree_copy_attributes(int from, int to) {
        struct stat st;
        if (fstat(from, &st) < 0)
                return -errno;
        int r = remove_other_xattrs(from, to);
        if (r >= 0)
                r = set_owner_and_mode(to, st.st_uid, st.st_gid, st.st_mode & 07777);
        if (r >= 0)
                r = copy_xattrs(from, to);
        if (r < 0)
                return r;
        struct timespec times[2] = { st.st_atim, st.st_mtim };
        return futimens(to, times) < 0 ? -errno : 0;
}

int tree_reset_attributes(int directory, struct timespec time) {
        const struct timespec times[2] = { time, time };
        int r = remove_other_xattrs(-EBADF, directory);
        if (r >= 0)
                r = set_owner_and_mode(directory, 0, 0, IMPLIED_MODE);
        return r < 0 ? r : futimens(directory, times) < 0 ? -errno : 0;
}

int tree_set_opaque(int directory) {
        return fsetxattr(directory, OPAQUE_XATTR, "y", 1, 0) < 0 ? -errno : 0;
}

bool tree_is_opaque(int directory) {
        char value;
        return fgetxattr(directory, OPAQUE_XATTR, &value, 1) == 1 && value == 'y';
}
