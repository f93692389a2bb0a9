/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/snapshot-rebase.h"

#include <errno.h>

#include "lib/strv.h"

#define DEPTH_MAX ((size_t) 1000)

/* A snapshot and what is below it, from the top. */
typedef struct RebaseChain {
        Snapshot *snapshots;
        size_t count;
} RebaseChain;

static void rebase_chain_done(RebaseChain *chain) {
        for (size_t i = 0; i < chain->count; i++)
                snapshot_done(&chain->snapshots[i]);
        free(chain->snapshots);
}

static int rebase_chain_read(SnapshotStore *store, int64_t top, RebaseChain *ret) {
        for (int64_t id = top; id > 0; id = ret->snapshots[ret->count - 1].parent_id) {
                Snapshot *larger = reallocarray(ret->snapshots, ret->count + 1, sizeof(*larger));
                if (!larger)
                        return -ENOMEM;
                ret->snapshots = larger;
                int r = ret->count < DEPTH_MAX ? snapshot_store_get_by_id(store, id, &larger[ret->count])
                                               : -ELOOP;
                if (r < 0)
                        return r;
                ret->count++;
        }
        return 0;
}

/* Layers are what their DiffID says; anything else is only like itself. */
static bool is_same_layer(const Snapshot *a, const Snapshot *b) {
        return a->id == b->id || (a->diff_id && b->diff_id && string_equal(a->diff_id, b->diff_id));
}

static bool is_built_on(const RebaseChain *above, const RebaseChain *below) {
        if (above->count < below->count)
                return false;
        const Snapshot *from = above->snapshots + (above->count - below->count);
        for (size_t i = 0; i < below->count; i++)
                if (!is_same_layer(&from[i], &below->snapshots[i]))
                        return false;
        return true;
}

int snapshot_rebase_check(SnapshotStore *store, const Snapshot *snapshot, const Snapshot *parent,
                          Fault *fault) {
        _cleanup_(rebase_chain_done) RebaseChain made_on = { 0 }, put_on = { 0 };
        if (snapshot->parent_id == 0 || snapshot->parent_id == parent->id)
                return 0;
        int r = rebase_chain_read(store, snapshot->parent_id, &made_on);
        if (r >= 0)
                r = rebase_chain_read(store, parent->id, &put_on);
        if (r < 0)
                return fault_set_errno(fault, r, "Can't find what '%s' is built on", snapshot->key);
        /* A tree that holds everything has nothing of what its parent would have in addition. */
        bool whole = snapshot_driver_get(snapshot->driver)->whole;
        if (is_built_on(&put_on, &made_on) && (!whole || put_on.count == made_on.count))
                return 0;
        return fault_set(
                fault, -EBUSY,
                "The snapshot '%s' was made on '%s', and '%s' neither has the same layers nor is built "
                "on them",
                snapshot->key, snapshot->parent, parent->key);
}
