/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/content/lease-process.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/process.h"
#include "lib/strv.h"

/* linux/magic.h of Linux 6.9 */
#ifndef PID_FS_MAGIC
#define PID_FS_MAGIC 0x50494446
#endif

#define FDINFO_LIMIT 4096

/* The line "Pid:" of its fdinfo: -1 when it has ended, 0 when it is none of our namespace. */
static int read_pid(int pidfd, pid_t *ret) {
        _cleanup_free_ char *text = NULL;
        char path[64];
        size_t size;
        int64_t pid;

        (void) snprintf(path, sizeof(path), "/proc/self/fdinfo/%i", pidfd);
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        int r = fd_read_all(fd, FDINFO_LIMIT, &text, &size);
        if (r < 0)
                return r;
        const char *line = strstr(text, "\nPid:");
        if (!line)
                return -EINVAL;
        line += strlen("\nPid:");
        line += strspn(line, " \t");
        _cleanup_free_ char *number = strndup(line, strcspn(line, "\n"));
        if (!number)
                return -ENOMEM;
        r = string_to_int64(number, &pid);
        if (r < 0)
                return r;
        if (pid <= 0)
                return pid < 0 ? -ESRCH : -EINVAL;
        *ret = (pid_t) pid;
        return 0;
}

/* What is only now and here the same for the same process. */
static int make_proof(int pidfd, pid_t pid, bool inode, char **ret) {
        _cleanup_free_ char *boot = NULL;
        struct statfs fs;
        struct stat st;
        uint64_t start;

        int r = fd_read_line_at(AT_FDCWD, "/proc/sys/kernel/random/boot_id", &boot);
        if (r < 0)
                return r;
        if (fstatfs(pidfd, &fs) < 0 || fstat(pidfd, &st) < 0)
                return -errno;
        if (inode && fs.f_type == PID_FS_MAGIC)
                return asprintf(ret, "inode %" PRIu64 " %s", (uint64_t) st.st_ino, boot) < 0 ? -ENOMEM : 0;
        r = process_start_time(pid, &start);
        if (r == -ENOENT || r == -ESRCH)
                return -EOPNOTSUPP; /* of somebody else, and hidden */
        if (r < 0)
                return r;
        return asprintf(ret, "start %" PRIu64 " %s", start, boot) < 0 ? -ENOMEM : 0;
}

static bool has_ended(int pidfd) {
        pid_t pid;
        return read_pid(pidfd, &pid) == -ESRCH;
}

int lease_process_identify(int pidfd, bool inode, pid_t *ret_pid, char **ret_proof, Fault *fault) {
        _cleanup_free_ char *proof = NULL;
        pid_t pid;

        int r = read_pid(pidfd, &pid);
        if (r >= 0)
                r = make_proof(pidfd, pid, inode, &proof);
        /* The number was still its own if it has not ended after that. */
        if ((r >= 0 || r == -EOPNOTSUPP) && has_ended(pidfd))
                r = -ESRCH;
        if (r == -ESRCH)
                return fault_set(fault, r, "the process has ended");
        if (r == -EINVAL)
                return fault_set(fault, r, "the descriptor is not a pidfd of this machine");
        if (r < 0)
                return fault_set_errno(fault, r, "the process can't be known again");
        *ret_pid = pid;
        *ret_proof = TAKE_PTR(proof);
        return 0;
}

int lease_process_open(pid_t pid, const char *proof) {
        _cleanup_free_ char *now = NULL;
        pid_t same;

        _cleanup_close_ int pidfd = process_open_pidfd(pid);
        if (pidfd < 0)
                return pidfd;
        int r = lease_process_identify(pidfd, string_after(proof, "inode ") != NULL, &same, &now, NULL);
        if (r < 0)
                return r == -EINVAL ? -ESRCH : r;
        return string_equal(now, proof) ? TAKE_FD(pidfd) : -ESRCH;
}
