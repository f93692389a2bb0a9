/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/snapshot-chain.h"

#include <errno.h>
#include <string.h>

#include "lib/fd.h"

#define CHAINS_MAX 32

typedef struct KnownChain {
        int64_t top; /* 0: none */
        uint64_t used;
        SnapshotLayer *layers;
        size_t count;
        int begun; /* tree_mounts_begin(); -EBADF: not */
} KnownChain;

struct SnapshotChains {
        uint64_t uses;
        KnownChain known[CHAINS_MAX];
};

int snapshot_chains_new(SnapshotChains **ret) {
        SnapshotChains *chains = new0(SnapshotChains, 1);
        if (!chains)
                return -ENOMEM;
        for (size_t i = 0; i < CHAINS_MAX; i++)
                chains->known[i].begun = -EBADF;
        *ret = chains;
        return 0;
}

SnapshotChains *snapshot_chains_free(SnapshotChains *chains) {
        if (chains)
                snapshot_chains_forget(chains);
        return mfree(chains);
}

static void known_chain_set(KnownChain *known, KnownChain by) {
        free(known->layers);
        fd_close(known->begun);
        *known = by;
}

void snapshot_chains_forget(SnapshotChains *chains) {
        for (size_t i = 0; i < CHAINS_MAX; i++)
                known_chain_set(&chains->known[i], (KnownChain){ .begun = -EBADF });
}

static int find_or_read(SnapshotChains *chains, SnapshotStore *store, int64_t top, KnownChain **ret) {
        KnownChain *oldest = &chains->known[0];
        chains->uses++;
        for (size_t i = 0; i < CHAINS_MAX; i++) {
                KnownChain *known = &chains->known[i];
                if (known->top == top) {
                        known->used = chains->uses;
                        *ret = known;
                        return 0;
                }
                if (known->used < oldest->used)
                        oldest = known;
        }
        KnownChain chain = { .top = top, .used = chains->uses, .begun = -EBADF };
        int r = snapshot_store_chain(store, top, &chain.layers, &chain.count);
        if (r < 0)
                return r;
        known_chain_set(oldest, chain);
        *ret = oldest;
        return 0;
}

int snapshot_chains_get(SnapshotChains *chains, SnapshotStore *store, const Snapshot *snapshot,
                        SnapshotLayer **ret, size_t *ret_count) {
        KnownChain none = { 0 }, *below = &none;
        int r = snapshot->parent_id > 0 ? find_or_read(chains, store, snapshot->parent_id, &below) : 0;
        if (r < 0)
                return r;
        SnapshotLayer *layers = new0(SnapshotLayer, below->count + 1);
        if (!layers)
                return -ENOMEM;
        layers[0] = (SnapshotLayer){ .id = snapshot->id, .driver = snapshot->driver };
        if (below->count > 0)
                memcpy(layers + 1, below->layers, below->count * sizeof(*layers));
        *ret = layers;
        *ret_count = below->count + 1;
        return 0;
}

void snapshot_chains_begin(SnapshotChains *chains, SnapshotStore *store, TreeMounts *mounts, int64_t top) {
        KnownChain *chain;
        if (find_or_read(chains, store, top, &chain) >= 0 && chain->begun < 0)
                chain->begun = tree_mounts_begin(mounts, chain->layers, chain->count, NULL);
}

int snapshot_chains_take_begun(SnapshotChains *chains, int64_t top) {
        for (size_t i = 0; i < CHAINS_MAX; i++)
                if (chains->known[i].top == top && chains->known[i].begun >= 0)
                        return TAKE_FD(chains->known[i].begun);
        return -ENOENT;
}
