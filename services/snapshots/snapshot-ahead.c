/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/snapshot-ahead.h"

#include <errno.h>
#include <string.h>

#define EXPECTED_MAX 8 /* chains that wait for their turn, beyond which the oldest does without */

struct SnapshotAhead {
        SnapshotManager *manager; /* weak */
        sd_event_source *idle;
        int64_t expected[EXPECTED_MAX]; /* tops of chains */
        size_t count;
};

/* One for each time that nothing else is to do: who calls meanwhile waits for no more than that. */
static int on_idle(sd_event_source *source, void *userdata) {
        SnapshotAhead *ahead = userdata;
        SnapshotManager *manager = ahead->manager;
        int64_t top = ahead->expected[--ahead->count];
        if (ahead->count == 0)
                (void) sd_event_source_set_enabled(source, SD_EVENT_OFF);
        snapshot_chains_begin(manager->chains, manager->store, manager->tree_mounts, top);
        return 0;
}

static bool is_expected(const SnapshotAhead *ahead, int64_t top) {
        for (size_t i = 0; i < ahead->count; i++)
                if (ahead->expected[i] == top)
                        return true;
        return false;
}

void snapshot_ahead_expect(SnapshotAhead *ahead, const Snapshot *snapshot) {
        bool whole = snapshot->kind == SNAPSHOT_ACTIVE && snapshot_driver_get(snapshot->driver)->whole;
        if (whole || snapshot->parent_id == 0 || is_expected(ahead, snapshot->parent_id))
                return;
        if (sd_event_source_set_enabled(ahead->idle, SD_EVENT_ON) < 0)
                return;
        if (ahead->count == EXPECTED_MAX)
                memmove(ahead->expected, ahead->expected + 1, --ahead->count * sizeof(*ahead->expected));
        ahead->expected[ahead->count++] = snapshot->parent_id;
}

int snapshot_ahead_new(SnapshotManager *manager, SnapshotAhead **ret) {
        SnapshotAhead *ahead = new0(SnapshotAhead, 1);
        if (!ahead)
                return -ENOMEM;
        ahead->manager = manager;
        int r = sd_event_add_defer(manager->event, &ahead->idle, on_idle, ahead);
        if (r >= 0)
                r = sd_event_source_set_enabled(ahead->idle, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_source_set_priority(ahead->idle, SD_EVENT_PRIORITY_IDLE);
        if (r < 0) {
                snapshot_ahead_free(ahead);
                return r;
        }
        *ret = ahead;
        return 0;
}

SnapshotAhead *snapshot_ahead_free(SnapshotAhead *ahead) {
        if (!ahead)
                return NULL;
        sd_event_source_disable_unref(ahead->idle);
        return mfree(ahead);
}
