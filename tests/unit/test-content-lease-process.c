/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/content/lease-process.h"

#include <signal.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/process.h"
#include "tests/unit/check.h"

static pid_t start(int *ret_pidfd) {
        pid_t pid = fork();
        if (pid == 0) {
                (void) pause();
                _exit(0);
        }
        CHECK(pid > 0);
        *ret_pidfd = process_open_pidfd(pid);
        CHECK_OK(*ret_pidfd);
        return pid;
}

static void is_known_until_it_ends(bool inode) {
        _cleanup_free_ char *proof = NULL;
        int pidfd;
        pid_t pid = start(&pidfd), named;

        CHECK_OK(lease_process_identify(pidfd, inode, &named, &proof, NULL));
        CHECK_INT(named, pid);
        CHECK(inode || strncmp(proof, "start ", 6) == 0);
        int again = lease_process_open(pid, proof);
        CHECK_OK(again);
        if (inode) /* a start is told from another only to the tick */
                CHECK_ERROR(lease_process_open(getpid(), proof), -ESRCH);
        fd_close(again);

        (void) process_kill_and_reap(fd_duplicate(pidfd));
        CHECK_ERROR(lease_process_open(pid, proof), -ESRCH);
        char *none = NULL;
        CHECK_ERROR(lease_process_identify(pidfd, inode, &named, &none, NULL), -ESRCH);
        fd_close(pidfd);
}

static void is_known_by_its_inode(void) {
        is_known_until_it_ends(true);
}

static void is_known_by_its_start(void) {
        is_known_until_it_ends(false);
}

static void another_boot_has_other_processes(void) {
        CHECK_ERROR(lease_process_open(getpid(), "start 1 00000000-0000-0000-0000-000000000000"), -ESRCH);
        CHECK_ERROR(lease_process_open(getpid(), "inode 1 00000000-0000-0000-0000-000000000000"), -ESRCH);
        CHECK_ERROR(lease_process_open(getpid(), ""), -ESRCH);
}

static void what_is_no_pidfd_is_refused(void) {
        char *proof = NULL;
        pid_t pid;
        CHECK_ERROR(lease_process_identify(STDERR_FILENO, true, &pid, &proof, NULL), -EINVAL);
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(is_known_by_its_inode),
                CHECK_CASE(is_known_by_its_start),
                CHECK_CASE(another_boot_has_other_processes),
                CHECK_CASE(what_is_no_pidfd_is_refused),
                {},
        });
}
