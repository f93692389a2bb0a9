/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A disk that was found to be full: what nothing needs is collected without being asked for. */

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <time.h>

#include "lib/log.h"
#include "lib/strv.h"
#include "services/images/collection.h"
#include "services/images/images-bus.h"

/* Seconds: what is younger stays, as it may belong to a pull that is about to be continued; "no": never. */
#define VARIABLE "CRT_COLLECT_WHEN_FULL"
#define OLDER_THAN_DEFAULT 3600
#define INTERVAL_USEC UINT64_C(600000000)
/* Less than that, or than a hundredth of the disk, is none. */
#define ROOM_MIN (UINT64_C(16) * 1024 * 1024)

static void on_phase(const char *phase, void *userdata) {
}

static void on_plan(const CollectionCount plan[_COLLECTION_PART_MAX], void *userdata) {
}

static void on_progress(CollectionPart part, const CollectionCount *gone, void *userdata) {
}

static void on_image(const char *namespace, const char *name, void *userdata) {
        const ImagesBus *images = userdata;
        (void) object_kind_emit_removed(images->images, namespace, name);
}

static void on_end(int r, const Fault *fault, const CollectionCount gone[_COLLECTION_PART_MAX],
                   void *userdata) {
        if (r < 0)
                log_notice("the collection for a full disk failed: %s", fault_text(fault, r));
}

static const CollectionObserver observer = { on_phase, on_plan, on_progress, on_image, on_end };

static uint64_t now_usec(void) {
        struct timespec now;
        (void) clock_gettime(CLOCK_BOOTTIME, &now);
        return (uint64_t) now.tv_sec * 1000000 + (uint64_t) now.tv_nsec / 1000;
}

/* Also if it is the stores' disk, and they could only close the stream. */
static bool is_full(const char *store) {
        char path[PATH_MAX];
        const char *own = getenv("STATE_DIRECTORY");
        struct statvfs st;
        int n = snprintf(path, sizeof(path), "%s/../%s", own ? own : ".", store);
        return n > 0 && (size_t) n < sizeof(path) && statvfs(path, &st) >= 0 &&
               (st.f_bavail < st.f_blocks / 100 || st.f_bavail * st.f_frsize < ROOM_MIN);
}

void images_note_failure(ImagesBus *images, int error) {
        const char *value = getenv(VARIABLE);
        uint64_t seconds = OLDER_THAN_DEFAULT, now = now_usec();
        Collection *collection;

        if (string_equal(value, "no") ||
            (images->full_disk_seen > 0 && now - images->full_disk_seen < INTERVAL_USEC) ||
            (error != -ENOSPC && !is_full("content") && !is_full("snapshots") && !is_full("images")))
                return;
        if (!string_is_empty(value) && string_to_uint64(value, UINT32_MAX, &seconds) < 0)
                log_warning("%s=%s is neither 'no' nor a number of seconds", VARIABLE, value);
        images->full_disk_seen = now;
        int r = collection_new(images->service,
                               &(CollectionSpec){ .older_than = seconds * 1000000,
                                                  .observer = &observer,
                                                  .userdata = images },
                               &collection);
        if (r < 0)
                return;
        log_notice("the disk is full: what nothing needs is collected");
        collection_start(collection);
}
