/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/own-binary.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "lib/fd.h"

#define OWN_PATH "/proc/self/exe"

/* The clone of a single file is a mount whose root is that file. It is in no mount namespace, so no mount
 * call can make it writable again, and it lasts as long as something runs from it. No copy is made: a sealed
 * memfd would protect as well, but costs the copying and the memory of the whole binary for each container.
 */
int own_binary_open(const char *path, Fault *fault) {
        struct mount_attr attributes = { .attr_set = MOUNT_ATTR_RDONLY };
        _cleanup_close_ int fd = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
        if (fd < 0)
                return fault_set_errno(fault, -errno, "a read-only mount of the runtime's own file");
        if (mount_setattr(fd, "", AT_EMPTY_PATH, &attributes, sizeof(attributes)) < 0)
                return fault_set_errno(fault, -errno, "making the mount of the runtime's file read-only");
        return TAKE_FD(fd);
}

static int is_protected(bool *ret) {
        struct statx st;
        struct statvfs file_system;
        if (statx(AT_FDCWD, OWN_PATH, 0, STATX_TYPE, &st) < 0 || statvfs(OWN_PATH, &file_system) < 0)
                return -errno;
        *ret = (st.stx_attributes & STATX_ATTR_MOUNT_ROOT) && (file_system.f_flag & ST_RDONLY);
        return 0;
}

int own_binary_protect(char *const *arguments, Fault *fault) {
        bool done = false;
        int r = is_protected(&done);
        if (r < 0)
                return fault_set_errno(fault, r, OWN_PATH);
        if (done)
                return 0;
        _cleanup_close_ int fd = own_binary_open(OWN_PATH, fault);
        if (fd < 0)
                return fd;
        (void) execveat(fd, "", arguments, environ, AT_EMPTY_PATH);
        return fault_set_errno(fault, -errno, "executing the runtime from its read-only mount");
}
