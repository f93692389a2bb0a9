/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* services/snapshots/space-reserve.c: what is left to others, by who writes and from outside. */

#include "services/snapshots/space-reserve.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "lib/fd.h"
#include "tests/unit/check-fault.h"
#include "tests/unit/check.h"

#define KIBIBYTES UINT64_C(1024)
#define MEBIBYTES (1024 * KIBIBYTES)
#define FIRST_LOOK UINT64_C(5000)
#define LAST_LOOK UINT64_C(200000)

/* A file system in memory that is mounted nowhere; of its 64 MiB 1.28 are for others, of its 1000 inodes 20.
 */
static int make_small(const char *size) {
        _cleanup_close_ int context = fsopen("tmpfs", FSOPEN_CLOEXEC);
        if (context < 0)
                check_skip("only root can make a file system here");
        CHECK(fsconfig(context, FSCONFIG_SET_STRING, "size", size, 0) >= 0);
        CHECK(fsconfig(context, FSCONFIG_SET_STRING, "nr_inodes", "1000", 0) >= 0);
        CHECK(fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) >= 0);
        int fd = fsmount(context, FSMOUNT_CLOEXEC, 0);
        CHECK(fd >= 0);
        return fd;
}

static void leave_bytes(int fd, uint64_t bytes) {
        struct statfs st;
        _cleanup_close_ int filler = openat(fd, "filler", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        CHECK(filler >= 0 && fstatfs(fd, &st) >= 0);
        uint64_t left = (uint64_t) st.f_bavail * (uint64_t) st.f_bsize;
        CHECK(left >= bytes);
        CHECK(fallocate(filler, 0, lseek(filler, 0, SEEK_END), (off_t) (left - bytes)) >= 0);
}

static void leave_inodes(int fd, uint64_t count) {
        struct statfs st;
        for (unsigned i = 0; fstatfs(fd, &st) >= 0 && (uint64_t) st.f_ffree > count; i++) {
                char name[32];
                (void) snprintf(name, sizeof(name), "%" PRIu64 "-%u", count, i);
                _cleanup_close_ int file = openat(fd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
                CHECK(file >= 0);
        }
}

static uint64_t look(int fd) {
        uint64_t usec = 0;
        CHECK_NO_FAULT(space_reserve_look(fd, &usec, "test", &fault));
        return usec;
}

static void who_writes_stops_before_others_make_them(void) {
        uint64_t usec;
        _cleanup_close_ int fd = make_small("64m");
        CHECK_NO_FAULT(space_reserve_check(fd, "test", &fault));
        leave_bytes(fd, 1400 * KIBIBYTES);
        CHECK_NO_FAULT(space_reserve_check(fd, "test", &fault));
        CHECK(look(fd) == FIRST_LOOK);
        leave_bytes(fd, 1 * MEBIBYTES);
        CHECK_FAULT(space_reserve_check(fd, "test", &fault), -ENOSPC, "No space left to test");
        CHECK(look(fd) == FIRST_LOOK);
        leave_bytes(fd, 512 * KIBIBYTES);
        CHECK_FAULT(space_reserve_look(fd, &usec, "test", &fault), -ENOSPC, "No space left to test");
}

static void inodes_are_left_too(void) {
        uint64_t usec;
        _cleanup_close_ int fd = make_small("64m");
        leave_inodes(fd, 25);
        CHECK_NO_FAULT(space_reserve_check(fd, "test", &fault));
        leave_inodes(fd, 15);
        CHECK_FAULT(space_reserve_check(fd, "test", &fault), -ENOSPC, "No inodes left to test");
        CHECK(look(fd) == FIRST_LOOK);
        leave_inodes(fd, 5);
        CHECK_FAULT(space_reserve_look(fd, &usec, "test", &fault), -ENOSPC, "No inodes left to test");
}

static void the_less_is_left_the_sooner_it_is_looked_at(void) {
        _cleanup_close_ int fd = make_small("64g"), many = -EBADF;
        /* 990 inodes are 9.9 milliseconds, however many bytes there are. */
        uint64_t first = look(fd);
        CHECK(first > FIRST_LOOK && first < 2 * FIRST_LOOK);
        leave_inodes(fd, 600);
        CHECK(look(fd) < first);
        many = fsopen("tmpfs", FSOPEN_CLOEXEC);
        CHECK(fsconfig(many, FSCONFIG_SET_STRING, "size", "64g", 0) >= 0 &&
              fsconfig(many, FSCONFIG_CMD_CREATE, NULL, NULL, 0) >= 0);
        _cleanup_close_ int large = fsmount(many, FSMOUNT_CLOEXEC, 0);
        CHECK(large >= 0 && look(large) == LAST_LOOK);
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(who_writes_stops_before_others_make_them),
                CHECK_CASE(inodes_are_left_too),
                CHECK_CASE(the_less_is_left_the_sooner_it_is_looked_at),
                {},
        });
}
