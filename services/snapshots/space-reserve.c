/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/space-reserve.h"

#include <errno.h>
#include <sys/statfs.h>

#include "lib/macros.h"

#define SPACE_RESERVE (UINT64_C(64) * 1024 * 1024)
#define INODES_RESERVE UINT64_C(1024)
#define RESERVE_SHARE 50 /* of the whole, where that is less */

/* What a process can use up in a microsecond, at the most: 4 GiB and 100,000 files a second. */
#define BYTES_PER_USEC UINT64_C(4096)
#define USEC_PER_INODE UINT64_C(10)
#define LOOK_USEC_MIN UINT64_C(5000)
#define LOOK_USEC_MAX UINT64_C(200000)

typedef struct SpaceLeft {
        uint64_t bytes, bytes_reserve;
        uint64_t inodes, inodes_reserve;
} SpaceLeft;

static int space_left(int fd, SpaceLeft *ret, Fault *fault) {
        struct statfs st;
        if (fstatfs(fd, &st) < 0)
                return fault_set_errno(fault, -errno, "Can't look at the file system");
        uint64_t block = (uint64_t) st.f_bsize;
        /* File systems without a number of inodes say 0, and then none are reserved. */
        *ret = (SpaceLeft){
                .bytes = (uint64_t) st.f_bavail * block,
                .bytes_reserve = MIN_OF(SPACE_RESERVE, (uint64_t) st.f_blocks * block / RESERVE_SHARE),
                .inodes = (uint64_t) st.f_ffree,
                .inodes_reserve = MIN_OF(INODES_RESERVE, (uint64_t) st.f_files / RESERVE_SHARE),
        };
        return 0;
}

static int space_check(const SpaceLeft *left, const char *purpose, Fault *fault) {
        if (left->bytes < left->bytes_reserve)
                return fault_set(fault, -ENOSPC, "No space left to %s", purpose);
        if (left->inodes < left->inodes_reserve)
                return fault_set(fault, -ENOSPC, "No inodes left to %s", purpose);
        return 0;
}

int space_reserve_check(int fd, const char *purpose, Fault *fault) {
        SpaceLeft left = { 0 };
        int r = space_left(fd, &left, fault);
        return r < 0 ? r : space_check(&left, purpose, fault);
}

int space_reserve_look(int fd, uint64_t *ret_usec, const char *purpose, Fault *fault) {
        SpaceLeft left = { 0 };
        int r = space_left(fd, &left, fault);
        if (r < 0)
                return r;
        left.bytes_reserve /= 2;
        left.inodes_reserve /= 2;
        r = space_check(&left, purpose, fault);
        if (r < 0)
                return r;
        uint64_t usec = MIN_OF((left.bytes - left.bytes_reserve) / BYTES_PER_USEC, LOOK_USEC_MAX);
        if (left.inodes_reserve > 0)
                usec = MIN_OF((left.inodes - left.inodes_reserve) * USEC_PER_INODE, usec);
        *ret_usec = MAX_OF(usec, LOOK_USEC_MIN);
        return 0;
}
