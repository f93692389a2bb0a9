/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/store-reserve.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "lib/fd.h"

#define RESERVE_NAME "reserve"
#define RESERVE_SIZE (1024 * 1024)

int store_reserve_init(StoreReserve *reserve, int directory) {
        *reserve = (StoreReserve){ .directory = fd_duplicate(directory) };
        if (reserve->directory < 0)
                return reserve->directory;
        store_reserve_restore(reserve);
        return 0;
}

void store_reserve_done(StoreReserve *reserve) {
        reserve->directory = fd_close(reserve->directory);
}

void store_reserve_restore(StoreReserve *reserve) {
        if (reserve->there)
                return;
        _cleanup_close_ int fd =
                openat(reserve->directory, RESERVE_NAME, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
        reserve->there = fd >= 0 && fallocate(fd, 0, 0, RESERVE_SIZE) >= 0;
        if (!reserve->there)
                (void) unlinkat(reserve->directory, RESERVE_NAME, 0);
}

bool store_reserve_is_needed(const StoreReserve *reserve) {
        struct statvfs st;
        return fstatvfs(reserve->directory, &st) >= 0 && (uint64_t) st.f_bavail * st.f_frsize < RESERVE_SIZE;
}

bool store_reserve_give_up(int directory) {
        return unlinkat(directory, RESERVE_NAME, 0) >= 0;
}

bool store_reserve_release(StoreReserve *reserve) {
        if (!reserve->there)
                return false;
        reserve->there = false;
        return store_reserve_give_up(reserve->directory);
}

bool store_reserve_try_again(StoreReserve *reserve, int r) {
        if (r == -ENOSPC)
                return store_reserve_release(reserve);
        if (r >= 0)
                store_reserve_restore(reserve);
        return false;
}
