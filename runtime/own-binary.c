/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/own-binary.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "lib/fd.h"

#define OWN_PATH "/proc/self/exe"

bool own_binary_is_apart;

/* The clone of a single file is a mount whose root is that file. As long as the descriptor of open_tree(2)
 * is there it is in a mount namespace without a name, and whoever has CAP_SYS_ADMIN over any mount namespace
 * can make it writable again by /proc/PID/exe. When that is closed it is in none, no mount call finds it,
 * and it lasts as long as something runs from it or holds the file. No copy is made: a sealed memfd would
 * protect as well, but costs the copying and the memory of the whole binary for each container. */
int own_binary_open(const char *path, Fault *fault) {
        struct mount_attr attributes = { .attr_set = MOUNT_ATTR_RDONLY };
        _cleanup_close_ int fd = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
        if (fd < 0)
                return fault_set_errno(fault, -errno, "a read-only mount of the runtime's own file");
        if (mount_setattr(fd, "", AT_EMPTY_PATH, &attributes, sizeof(attributes)) < 0)
                return fault_set_errno(fault, -errno, "making the mount of the runtime's file read-only");
        char own[FD_PROC_PATH_SIZE];
        int file = open(fd_proc_path(fd, own), O_RDONLY | O_CLOEXEC);
        return file < 0 ? fault_set_errno(fault, -errno, "the runtime's file on its read-only mount") : file;
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
        if (own_binary_is_apart || (geteuid() != 0 && (is_others() || is_copy()))) {
                *ret = true;
                return 0;
        }
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
