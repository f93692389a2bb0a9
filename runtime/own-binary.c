/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/own-binary.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/strv.h"

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

/* Without a right to mount: a copy in memory that nobody can change. */
static int open_copy(Fault *fault) {
        const int seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
        struct stat st;
        _cleanup_close_ int own = open(OWN_PATH, O_RDONLY | O_CLOEXEC);
        _cleanup_close_ int copy = memfd_create("crt-oci", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (own < 0 || copy < 0 || fstat(own, &st) < 0)
                return fault_set_errno(fault, -errno, "a copy of the runtime's own file");
        for (off_t left = st.st_size; left > 0;) {
                ssize_t n = sendfile(copy, own, NULL, (size_t) left);
                if (n <= 0)
                        return fault_set_errno(fault, n < 0 ? -errno : -EIO,
                                               "a copy of the runtime's own file");
                left -= n;
        }
        if (fcntl(copy, F_ADD_SEALS, seals) < 0)
                return fault_set_errno(fault, -errno, "a copy of the runtime's own file");
        return TAKE_FD(copy);
}

/* What an ordinary user can't write nobody in its container can. */
static bool is_others(void) {
        struct stat st;
        return geteuid() != 0 && stat(OWN_PATH, &st) >= 0 && st.st_uid != geteuid() &&
               faccessat(AT_FDCWD, OWN_PATH, W_OK, AT_EACCESS) < 0;
}

static bool is_copy(void) {
        _cleanup_close_ int own = open(OWN_PATH, O_RDONLY | O_CLOEXEC);
        int seals = own < 0 ? -1 : fcntl(own, F_GET_SEALS);
        return seals >= 0 && (seals & F_SEAL_WRITE);
}

static int is_protected(bool *ret) {
        struct statx st;
        struct statvfs file_system;
        if (geteuid() != 0 && (is_others() || is_copy())) {
                *ret = true;
                return 0;
        }
        if (statx(AT_FDCWD, OWN_PATH, 0, STATX_TYPE, &st) < 0 || statvfs(OWN_PATH, &file_system) < 0)
                return -errno;
        *ret = (st.stx_attributes & STATX_ATTR_MOUNT_ROOT) && (file_system.f_flag & ST_RDONLY);
        return 0;
}

static int held_mount = -EBADF;

/* What own-binary-entry.c executed this from, which execveat(2) tells as "/dev/fd/N". */
static void hold_mount(void) {
        const char *path = (const char *) getauxval(AT_EXECFN);
        const char *number = path ? string_after(path, "/dev/fd/") : NULL;
        uint64_t fd;
        if (number && string_to_uint64(number, INT_MAX, &fd) >= 0 &&
            fcntl((int) fd, F_SETFD, FD_CLOEXEC) >= 0)
                held_mount = (int) fd;
}

void own_binary_let_go(void) {
        held_mount = fd_close(held_mount);
}

int own_binary_protect(char *const *arguments, Fault *fault) {
        bool done = false;
        int r = is_protected(&done);
        if (r < 0)
                return fault_set_errno(fault, r, OWN_PATH);
        if (done) {
                hold_mount();
                return 0;
        }
        Fault refused = FAULT_NULL;
        _cleanup_close_ int fd = own_binary_open(OWN_PATH, &refused);
        if (fd == -EPERM && geteuid() != 0) {
                fault_done(&refused);
                fd = open_copy(&refused);
        }
        fault_move(fault, &refused);
        if (fd < 0)
                return fd;
        (void) execveat(fd, "", arguments, environ, AT_EMPTY_PATH);
        return fault_set_errno(fault, -errno, "executing the runtime from its read-only mount");
}
