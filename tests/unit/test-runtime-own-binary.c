/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/own-binary.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/fd.h"
#include "tests/unit/check-fault.h"
#include "tests/unit/check.h"

static int make_writable(int fd) {
        struct mount_attr attributes = { .attr_clr = MOUNT_ATTR_RDONLY };
        return mount_setattr(fd, "", AT_EMPTY_PATH, &attributes, sizeof(attributes)) < 0 ? errno : 0;
}

static void nobody_can_make_its_mount_writable(void) {
        if (geteuid() != 0)
                check_skip("only root can make mounts here");
        char path[FD_PROC_PATH_SIZE];
        _cleanup_close_ int file = -EBADF;
        CHECK_NO_FAULT(file = own_binary_open("/proc/self/exe", &fault));
        _cleanup_close_ int place = open(fd_proc_path(file, path), O_PATH | O_CLOEXEC);
        CHECK_OK(place);
        CHECK_INT(make_writable(file), EINVAL);
        CHECK_INT(make_writable(place), EINVAL);

        /* As root of a user namespace of its own, who has all rights over its mounts. */
        pid_t child = fork();
        CHECK_OK(child);
        if (child == 0)
                _exit(unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0 ? 200 : make_writable(place));
        int status;
        CHECK_INT(waitpid(child, &status, 0), child);
        CHECK(WIFEXITED(status));
        if (WEXITSTATUS(status) == 200)
                check_skip("no user namespaces here");
        CHECK_INT(WEXITSTATUS(status), EINVAL);

        CHECK(faccessat(AT_FDCWD, fd_proc_path(place, path), W_OK, 0) < 0 && errno == EROFS);
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(nobody_can_make_its_mount_writable),
                {},
        });
}
