/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Which mounts are alive, with directories in their place, in memory, as thousands are needed: what watches
 * them is the same. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/path.h"
#include "services/snapshots/mount-watch.h"
#include "tests/unit/check.h"

static char top_name[] = "/dev/shm/crt-unit-XXXXXX";
static int top = -1;

static void remove_top(void) {
        (void) path_remove_tree(AT_FDCWD, top_name + 1);
}

static MountWatch *new_watch(void) {
        MountWatch *watch = NULL;
        if (top < 0) {
                CHECK(mkdtemp(top_name) && chdir("/") >= 0 && atexit(remove_top) == 0);
                top = open(top_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        }
        CHECK_OK(mount_watch_new(&watch));
        return watch;
}

/* 0: the kernel has no room for more watches. */
static int add(MountWatch *watch, int64_t id) {
        char name[32];
        snprintf(name, sizeof(name), "%lli", (long long) id);
        CHECK(mkdirat(top, name, 0700) >= 0);
        _cleanup_close_ int fd = openat(top, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        CHECK(fd >= 0);
        int r = mount_watch_add(watch, id, fd);
        if (r == -ENOSPC)
                return 0;
        CHECK_OK(r);
        return 1;
}

static void end(int64_t id) {
        char name[32];
        snprintf(name, sizeof(name), "%lli", (long long) id);
        CHECK(unlinkat(top, name, AT_REMOVEDIR) >= 0);
}

static void tells_what_has_ended(void) {
        _cleanup_(mount_watch_freep) MountWatch *watch = new_watch();
        CHECK(add(watch, 1) && add(watch, 2));
        CHECK_INT(mount_watch_get(watch, 1), MOUNT_ALIVE);
        CHECK_INT(mount_watch_get(watch, 3), MOUNT_UNKNOWN);
        end(1);
        CHECK_INT(mount_watch_get(watch, 1), MOUNT_GONE);
        CHECK_INT(mount_watch_get(watch, 2), MOUNT_ALIVE);
        mount_watch_remove(watch, 2);
        CHECK_INT(mount_watch_get(watch, 2), MOUNT_UNKNOWN);
        end(2);
        CHECK(add(watch, 1)); /* again */
        CHECK_INT(mount_watch_get(watch, 1), MOUNT_ALIVE);
        end(1);
        CHECK_INT(mount_watch_get(watch, 1), MOUNT_GONE);
}

static long long queue_size(void) {
        long long size = 0;
        FILE *file = fopen("/proc/sys/fs/inotify/max_queued_events", "re");
        CHECK(file && fscanf(file, "%lli", &size) == 1);
        fclose(file);
        return size;
}

/* The end of each is told twice: by what became of it, and by the end of its watch. */
static void what_the_queue_had_no_room_for_is_asked_for(void) {
        _cleanup_(mount_watch_freep) MountWatch *watch = new_watch();
        long long count = queue_size() / 2 + 100;
        if (count > 20000)
                check_skip("the queue of events is too long to fill it");
        CHECK(add(watch, 1) && add(watch, 2));
        end(2);
        CHECK_INT(mount_watch_get(watch, 2), MOUNT_GONE);
        bool room = true;
        for (int64_t id = 10; id < 10 + count && room; id++)
                room = add(watch, id);
        if (!room)
                check_skip("the kernel allows too few watches to fill a queue");
        for (int64_t id = 10; id < 10 + count; id++)
                end(id);
        CHECK_INT(mount_watch_get(watch, 1), MOUNT_ALIVE);
        CHECK_INT(mount_watch_get(watch, 2), MOUNT_GONE);
        for (int64_t id = 10; id < 10 + count; id++)
                CHECK(mount_watch_get(watch, id) != MOUNT_ALIVE);
        CHECK_INT(mount_watch_get(watch, 10 + count - 1), MOUNT_UNKNOWN);
        end(1);
        CHECK_INT(mount_watch_get(watch, 1), MOUNT_GONE);
        CHECK(add(watch, 10));
        CHECK_INT(mount_watch_get(watch, 10), MOUNT_ALIVE);
        end(10);
        CHECK_INT(mount_watch_get(watch, 10), MOUNT_GONE);
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(tells_what_has_ended),
                CHECK_CASE(what_the_queue_had_no_room_for_is_asked_for),
                {},
        });
}
