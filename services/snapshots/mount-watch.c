/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/mount-watch.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"

typedef struct WatchedMount {
        int64_t id;
        int descriptor; /* of inotify; negative once the mount is gone */
} WatchedMount;

struct MountWatch {
        int inotify;
        WatchedMount *mounts;
        size_t count;
        sd_event_source *source; /* NULL: nobody listens */
        void (*gone)(void *userdata);
        void *userdata;
};

int mount_watch_new(MountWatch **ret) {
        _cleanup_(mount_watch_freep) MountWatch *watch = new0(MountWatch, 1);
        if (!watch)
                return -ENOMEM;
        watch->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
        if (watch->inotify < 0)
                return -errno;
        *ret = TAKE_PTR(watch);
        return 0;
}

MountWatch *mount_watch_free(MountWatch *watch) {
        if (!watch)
                return NULL;
        sd_event_source_disable_unref(watch->source);
        fd_close(watch->inotify);
        free(watch->mounts);
        return mfree(watch);
}

static WatchedMount *watch_find(MountWatch *watch, int64_t id) {
        for (size_t i = 0; i < watch->count; i++)
                if (watch->mounts[i].id == id)
                        return &watch->mounts[i];
        return NULL;
}

static void watch_end(MountWatch *watch, int descriptor) {
        for (size_t i = 0; i < watch->count; i++)
                if (watch->mounts[i].descriptor == descriptor)
                        watch->mounts[i].descriptor = -EBADF;
}

/* ---- when there were more events than the kernel keeps ---- */

static int compare_descriptors(const void *a, const void *b) {
        int one = *(const int *) a, other = *(const int *) b;
        return (one > other) - (one < other);
}

/* Those that the kernel still has, one in each line: "inotify wd:HEX ino:…" (proc(5), fdinfo). */
static int read_living(FILE *file, int **ret, size_t *ret_count) {
        _cleanup_free_ char *line = NULL;
        _cleanup_free_ int *living = NULL;
        size_t size = 0, count = 0, allocated = 0;
        unsigned descriptor;
        while (getline(&line, &size, file) >= 0) {
                if (sscanf(line, "inotify wd:%x ", &descriptor) != 1)
                        continue;
                if (count == allocated) {
                        allocated = MAX_OF(allocated * 2, (size_t) 64);
                        int *larger = reallocarray(living, allocated, sizeof(*larger));
                        if (!larger)
                                return -ENOMEM;
                        living = larger;
                }
                living[count++] = (int) descriptor;
        }
        if (ferror(file))
                return -EIO;
        if (count > 0)
                qsort(living, count, sizeof(*living), compare_descriptors);
        *ret = TAKE_PTR(living);
        *ret_count = count;
        return 0;
}

static int ask_kernel(const MountWatch *watch, int **ret, size_t *ret_count) {
        char path[64];
        (void) snprintf(path, sizeof(path), "/proc/self/fdinfo/%i", watch->inotify);
        FILE *file = fopen(path, "re");
        if (!file)
                return -errno;
        int r = read_living(file, ret, ret_count);
        (void) fclose(file);
        return r;
}

/* All that was queued is read by now, so whichever watch ends after this says so again. Of a mount that lost
 * its watch nothing is known: whoever needs to know asks its file system. */
static void watch_look(MountWatch *watch) {
        _cleanup_free_ int *living = NULL;
        size_t count = 0, kept = 0;
        int r = ask_kernel(watch, &living, &count);
        if (r < 0)
                log_warning("can't find out which mounts are left: %s", strerror(-r));
        for (size_t i = 0; i < watch->count; i++) {
                const WatchedMount *mount = &watch->mounts[i];
                if (mount->descriptor < 0 || (count > 0 && bsearch(&mount->descriptor, living, count,
                                                                   sizeof(*living), compare_descriptors)))
                        watch->mounts[kept++] = *mount;
        }
        watch->count = kept;
}

/* ---- events ---- */

/* true: some were lost. */
static bool watch_take(MountWatch *watch, const struct inotify_event *event) {
        if (event->mask & (IN_UNMOUNT | IN_IGNORED))
                watch_end(watch, event->wd);
        return event->mask & IN_Q_OVERFLOW;
}

static void watch_read(MountWatch *watch) {
        union {
                struct inotify_event event;
                char space[4096];
        } buffer;
        bool lost = false;
        for (;;) {
                ssize_t n = read(watch->inotify, &buffer, sizeof(buffer));
                if (n <= 0)
                        break;
                for (const char *p = buffer.space; p < buffer.space + n;) {
                        const struct inotify_event *event = (const void *) p;
                        lost = watch_take(watch, event) || lost;
                        p += sizeof(*event) + event->len;
                }
        }
        if (lost)
                watch_look(watch);
}

static int on_inotify(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        MountWatch *watch = userdata;
        watch_read(watch);
        watch->gone(watch->userdata);
        return 0;
}

int mount_watch_listen(MountWatch *watch, sd_event *event, void (*gone)(void *userdata), void *userdata) {
        watch->gone = gone;
        watch->userdata = userdata;
        return sd_event_add_io(event, &watch->source, watch->inotify, EPOLLIN, on_inotify, watch);
}

int mount_watch_add(MountWatch *watch, int64_t id, int mount) {
        char path[FD_PROC_PATH_SIZE];
        watch_read(watch);
        WatchedMount *place = watch_find(watch, id);
        if (!place) {
                WatchedMount *larger = reallocarray(watch->mounts, watch->count + 1, sizeof(*watch->mounts));
                if (!larger)
                        return -ENOMEM;
                watch->mounts = larger;
                place = &larger[watch->count];
                *place = (WatchedMount){ .id = id, .descriptor = -EBADF };
        }
        int descriptor = inotify_add_watch(watch->inotify, fd_proc_path(mount, path), IN_DELETE_SELF);
        if (descriptor < 0) {
                int r = -errno;
                mount_watch_remove(watch, id); /* what is known of it is of an earlier mount */
                return r;
        }
        if (place == &watch->mounts[watch->count])
                watch->count++;
        place->descriptor = descriptor;
        return 0;
}

MountLife mount_watch_get(MountWatch *watch, int64_t id) {
        watch_read(watch);
        const WatchedMount *found = watch_find(watch, id);
        return !found ? MOUNT_UNKNOWN : found->descriptor >= 0 ? MOUNT_ALIVE : MOUNT_GONE;
}

void mount_watch_remove(MountWatch *watch, int64_t id) {
        WatchedMount *found = watch_find(watch, id);
        if (!found)
                return;
        if (found->descriptor >= 0)
                (void) inotify_rm_watch(watch->inotify, found->descriptor);
        *found = watch->mounts[--watch->count];
}
