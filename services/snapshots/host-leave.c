/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/host-leave.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/fd.h"

int host_leave(void) {
        if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
                return -errno;
        _cleanup_close_ int context = fsopen("tmpfs", FSOPEN_CLOEXEC);
        if (context < 0 || fsconfig(context, FSCONFIG_SET_STRING, "size", "4096", 0) < 0 ||
            fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
                return -errno;
        _cleanup_close_ int root = fsmount(context, FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV);
        if (root < 0 || move_mount(root, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0)
                return -errno;
        if (fchdir(root) < 0 || syscall(SYS_pivot_root, ".", ".") < 0)
                return -errno;
        /* Both are mounted on "/" now, the old one on top. */
        if (umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
                return -errno;
        return 0;
}
