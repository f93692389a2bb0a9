/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/snapshot-chain.h"

#include <errno.h>
#include <string.h>

#define CHAINS_MAX 32

typedef struct KnownChain {
        int64_t top; /* 0: none */
        uint64_t used;
        SnapshotLayer *layers;
        size_t count;
} KnownChain;

struct SnapshotChains {
        uint64_t uses;
        KnownChain known[CHAINS_MAX];
};

int snapshot_chains_new(SnapshotChains **ret) {
        *ret = new0(SnapshotChains, 1);
        return *ret ? 0 : -ENOMEM;
}

SnapshotChains *snapshot_chains_free(SnapshotChains *chains) {
        if (chains)
                snapshot_chains_forget(chains);
        return mfree(chains);
}

void snapshot_chains_forget(SnapshotChains *chains) {
        for (size_t i = 0; i < CHAINS_MAX; i++) {
                free(chains->known[i].layers);
                chains->known[i] = (KnownChain){ 0 };
        }
}

static int find_or_read(SnapshotChains *chains, SnapshotStore *store, int64_t top, const KnownChain **ret) {
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
        KnownChain chain = { .top = top, .used = chains->uses };
        int r = snapshot_store_chain(store, top, &chain.layers, &chain.count);
        if (r < 0)
                return r;
        free(oldest->layers);
        *oldest = chain;
        *ret = oldest;
        return 0;
}

int snapshot_chains_get(SnapshotChains *chains, SnapshotStore *store, const Snapshot *snapshot,
                        SnapshotLayer **ret, size_t *ret_count) {
        const KnownChain none = { 0 }, *below = &none;
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
