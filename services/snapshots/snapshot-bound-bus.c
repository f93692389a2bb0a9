/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/snapshot-bound-bus.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "lib/log.h"
#include "services/snapshots/mount-watch.h"

typedef struct BoundSnapshot {
        struct BoundSnapshot *next;
        SnapshotsBound *bound; /* weak; NULL: forgotten while the connection is asked about */
        int64_t id;
        PeerWatch *watch; /* NULL: the connection has ended, or is still asked about */
        bool asking;      /* on_peer_known() will be called */
} BoundSnapshot;

struct SnapshotsBound {
        SnapshotManager *manager; /* weak */
        PeerRegistry *peers;      /* weak */
        BoundSnapshot *snapshots;
        sd_event_source
                *retry; /* while some wait for mounts that an earlier run of the service handed out */
};

/* Nobody tells of the end of such a mount; asking the kernel takes no time. */
#define RETRY_USEC (UINT64_C(3) * 1000 * 1000)

static void bound_snapshot_free(BoundSnapshot *snapshot) {
        BoundSnapshot **place = &snapshot->bound->snapshots;
        while (*place && *place != snapshot)
                place = &(*place)->next;
        if (*place)
                *place = snapshot->next;
        snapshot->watch = peer_watch_free(snapshot->watch);
        snapshot->bound = NULL;
        if (!snapshot->asking) /* else on_peer_known() frees it */
                free(snapshot);
}

static BoundSnapshot *find(const SnapshotsBound *bound, int64_t id) {
        BoundSnapshot *snapshot = bound->snapshots;
        while (snapshot && snapshot->id != id)
                snapshot = snapshot->next;
        return snapshot;
}

/* It was removed or committed, by whomever. */
static void forget(int64_t id, void *userdata) {
        BoundSnapshot *snapshot = find(userdata, id);
        if (snapshot)
                bound_snapshot_free(snapshot);
}

/* ---- the end ---- */

static void retry_later(SnapshotsBound *bound) {
        int r = sd_event_source_set_time_relative(bound->retry, RETRY_USEC);
        if (r >= 0)
                (void) sd_event_source_set_enabled(bound->retry, SD_EVENT_ONESHOT);
}

/* Gone, kept because something else happened to it meanwhile, or still mounted: then it stays on the list.
 */
static void remove_snapshot(BoundSnapshot *bound) {
        SnapshotsBound *all = bound->bound;
        SnapshotManager *manager = all->manager;
        int64_t id = bound->id;
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        _cleanup_(snapshot_done) Snapshot snapshot = { 0 };
        int r = snapshot_store_get_by_id(manager->store, id, &snapshot);
        if (r >= 0 && snapshot.bound) /* a committed one is bound no more */
                r = snapshot_manager_remove(manager, snapshot.namespace, snapshot.key, &fault);
        if (r == -EBUSY) {
                retry_later(all);
                return;
        }
        if (r < 0 && r != -ENOENT)
                log_warning("a snapshot stays though its client is gone: %s", fault_text(&fault, r));
        forget(id, all); /* if the manager has not said so already */
}

static void on_peer_gone(void *userdata) {
        BoundSnapshot *snapshot = userdata;
        snapshot->watch = peer_watch_free(snapshot->watch);
        /* Should the service end before it can be removed: this connection has ended. */
        (void) snapshot_store_set_bound(snapshot->bound->manager->store, snapshot->id, "");
        remove_snapshot(snapshot);
}

/* Some mount has ended. */
static void on_mount_gone(void *userdata) {
        SnapshotsBound *bound = userdata;
        for (BoundSnapshot *snapshot = bound->snapshots, *next; snapshot; snapshot = next) {
                next = snapshot->next;
                if (!snapshot->watch && !snapshot->asking)
                        remove_snapshot(snapshot);
        }
}

static int on_retry(sd_event_source *source, uint64_t now, void *userdata) {
        on_mount_gone(userdata);
        return 0;
}

/* ---- the beginning ---- */

static BoundSnapshot *bound_snapshot_new(SnapshotsBound *bound, int64_t id) {
        BoundSnapshot *snapshot = new0(BoundSnapshot, 1);
        if (!snapshot)
                return NULL;
        *snapshot = (BoundSnapshot){ .next = bound->snapshots, .bound = bound, .id = id };
        bound->snapshots = snapshot;
        return snapshot;
}

int snapshots_bound_check(const Snapshot *snapshot, const Peer *peer, Fault *fault) {
        if (peer_uid(peer) == 0 || peer_uid(peer) == snapshot->uid)
                return 0;
        return fault_set(fault, -EACCES,
                         "The snapshot '%s' is not yours: only who made it can bind it to a connection",
                         snapshot->key);
}

int snapshots_bound_add(SnapshotsBound *bound, const Snapshot *snapshot, Peer *peer, Fault *fault) {
        BoundSnapshot *known = find(bound, snapshot->id);
        PeerWatch *watch = NULL;
        if (known && known->asking) { /* what an earlier one was bound to does not matter any more */
                bound_snapshot_free(known);
                known = NULL;
        }
        int r = known ? 0 : (known = bound_snapshot_new(bound, snapshot->id)) ? 0 : -ENOMEM;
        if (r >= 0)
                r = peer_watch_new(peer, on_peer_gone, known, &watch);
        if (r >= 0) {
                peer_watch_free(known->watch);
                known->watch = watch;
                r = snapshot_store_set_bound(bound->manager->store, snapshot->id, peer_unique_name(peer));
        }
        if (r < 0 && known)
                bound_snapshot_free(known);
        return r < 0 ? fault_set_errno(fault, r, "Can't bind the snapshot '%s' to your connection",
                                       snapshot->key)
                     : 0;
}

static void on_peer_known(Peer *peer, void *userdata) {
        BoundSnapshot *snapshot = userdata;
        snapshot->asking = false;
        if (!snapshot->bound) {
                free(snapshot);
                return;
        }
        if (!peer || peer_watch_new(peer, on_peer_gone, snapshot, &snapshot->watch) < 0)
                on_peer_gone(snapshot);
}

/* Names of connections are not given twice while the bus runs, which ends with the machine; "" has ended. */
static int take_up(const Snapshot *snapshot, void *userdata) {
        SnapshotsBound *bound = userdata;
        BoundSnapshot *taken = bound_snapshot_new(bound, snapshot->id);
        if (!taken)
                return -ENOMEM;
        if (snapshot->bound[0] == '\0')
                return 0;
        taken->asking = true;
        int r = peer_registry_learn(bound->peers, snapshot->bound, on_peer_known, taken);
        if (r < 0)
                taken->asking = false;
        return 0;
}

int snapshots_bound_new(SnapshotManager *manager, PeerRegistry *peers, SnapshotsBound **ret, Fault *fault) {
        _cleanup_(snapshots_bound_freep) SnapshotsBound *bound = new0(SnapshotsBound, 1);
        if (!bound)
                return -ENOMEM;
        bound->manager = manager;
        bound->peers = peers;
        int r = sd_event_add_time(manager->event, &bound->retry, CLOCK_MONOTONIC, 0, 0, on_retry, bound);
        if (r >= 0)
                r = sd_event_source_set_enabled(bound->retry, SD_EVENT_OFF);
        if (r >= 0)
                r = snapshot_store_visit_bound(manager->store, take_up, bound);
        if (r >= 0)
                r = mount_watch_listen(manager->mounts, manager->event, on_mount_gone, bound);
        if (r < 0)
                return fault_set_errno(fault, r, "Can't find out which snapshots are bound to clients");
        manager->unbind = forget;
        manager->unbind_userdata = bound;
        on_mount_gone(bound); /* those whose connections have ended */
        *ret = TAKE_PTR(bound);
        return 0;
}

SnapshotsBound *snapshots_bound_free(SnapshotsBound *bound) {
        if (!bound)
                return NULL;
        bound->manager->unbind = NULL;
        while (bound->snapshots)
                bound_snapshot_free(bound->snapshots);
        sd_event_source_disable_unref(bound->retry);
        return mfree(bound);
}

bool snapshots_bound_is_busy(const SnapshotsBound *bound) {
        return bound->snapshots;
}
