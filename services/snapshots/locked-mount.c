/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/locked-mount.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/fd.h"

/* Whoever holds a detached mount may change its flags with CAP_SYS_ADMIN in a user namespace of his own. The
 * kernel locks them when a mount namespace is copied for another user namespace, and copies of such a mount
 * stay locked (mount_namespaces(7)): so that is done, in a process that lives only for it. */

/* In the other process, which shares the descriptors. */
static int clone_locked(const char *point) {
        struct mount_attr attributes = { .propagation = MS_PRIVATE };
        int fd = open_tree(AT_FDCWD, point, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW);
        if (fd < 0)
                return -errno;
        if (mount_setattr(fd, "", AT_EMPTY_PATH, &attributes, sizeof(attributes)) < 0) {
                int r = -errno;
                (void) close(fd);
                return r;
        }
        return fd;
}

static int clone_elsewhere(const char *point) {
        int ends[2], answer;
        if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
                return -errno;
        long pid = syscall(SYS_clone, CLONE_NEWUSER | CLONE_NEWNS | CLONE_FILES | SIGCHLD, NULL, NULL, NULL,
                           NULL);
        if (pid == 0) {
                answer = clone_locked(point);
                (void) !write(ends[1], &answer, sizeof(answer));
                _exit(0);
        }
        int r = pid < 0 ? -errno : 0;
        if (r >= 0) {
                while (waitpid((pid_t) pid, NULL, 0) < 0 && errno == EINTR)
                        ;
                r = read(ends[0], &answer, sizeof(answer)) == (ssize_t) sizeof(answer) ? answer : -EIO;
        }
        fd_close(ends[0]);
        fd_close(ends[1]);
        return r;
}

int locked_mount_make(int mount, int directory, const char *point) {
        if (fchdir(directory) < 0)
                return -errno;
        int r = move_mount(mount, "", AT_FDCWD, point, MOVE_MOUNT_F_EMPTY_PATH) < 0 ? -errno : 0;
        if (r >= 0) {
                r = clone_elsewhere(point);
                if (umount2(point, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && r >= 0) {
                        int error = -errno;
                        fd_close(r);
                        r = error;
                }
        }
        (void) !chdir("/");
        return r;
}
