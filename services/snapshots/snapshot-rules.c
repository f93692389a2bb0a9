/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/snapshot-rules.h"

#include <errno.h>

#include "lib/macros.h"

#define BIT(value) (1U << (value))
#define ACTIVE BIT(SNAPSHOT_ACTIVE)
#define VIEW BIT(SNAPSHOT_VIEW)
#define COMMITTED BIT(SNAPSHOT_COMMITTED)
#define READY BIT(SNAPSHOT_PREPARED)
#define UNPACKED BIT(SNAPSHOT_UNPACKED)

static const struct {
        unsigned kinds;
        unsigned states;        /* UNPACKED: of an active one; one that is committed is READY */
        const char *wrong_kind; /* what follows "The snapshot 'x' " */
} rules[_SNAPSHOT_USE_MAX] = {
        [SNAPSHOT_USE_PARENT] = { COMMITTED, READY, "is not committed, so nothing can be built on it" },
        [SNAPSHOT_USE_COMMIT] = { ACTIVE, READY | UNPACKED, "is not active, so there is nothing to commit" },
        [SNAPSHOT_USE_MOUNT] = { ACTIVE | VIEW, READY,
                                 "is committed: mount a view or an active snapshot of it" },
        [SNAPSHOT_USE_UNPACK] = { ACTIVE, READY, "is not active, so no layer can be unpacked into it" },
        [SNAPSHOT_USE_REMOVE] = { ACTIVE | VIEW | COMMITTED,
                                  ~(BIT(SNAPSHOT_UNPACKING) | BIT(SNAPSHOT_FILLING)), NULL },
        [SNAPSHOT_USE_DIFF] = { ACTIVE | VIEW | COMMITTED, READY, NULL },
        [SNAPSHOT_USE_VERIFY] = { COMMITTED, READY | BIT(SNAPSHOT_DAMAGED),
                                  "is not committed, so nothing says what its files should be" },
};

/* The same for every use that a state is in the way of. */
static const char *const wrong_states[_SNAPSHOT_STATE_MAX] = {
        [SNAPSHOT_UNPACKING] = "is being unpacked into",
        [SNAPSHOT_UNPACKED] = "holds a layer: commit it first",
        [SNAPSHOT_FAILED] = "can only be removed: unpacking into it failed",
        [SNAPSHOT_LOST] =
                "can only be removed: its contents were volatile and did not outlive the last boot",
        [SNAPSHOT_FILLING] = "is still being prepared",
        [SNAPSHOT_DAMAGED] = "is damaged: unpack its layer again, or pull its image",
};

int snapshot_check_use(const Snapshot *snapshot, SnapshotUse use, Fault *fault) {
        assert(use >= 0 && use < _SNAPSHOT_USE_MAX);
        assert(snapshot->state >= 0 && snapshot->state < _SNAPSHOT_STATE_MAX);
        bool committed = snapshot->kind == SNAPSHOT_COMMITTED;
        SnapshotState state =
                committed && snapshot->state == SNAPSHOT_UNPACKED ? SNAPSHOT_PREPARED : snapshot->state;
        const char *why = NULL;
        if (!(rules[use].kinds & BIT(snapshot->kind)))
                why = rules[use].wrong_kind;
        else if (!(rules[use].states & BIT(state)))
                why = wrong_states[state];
        return why ? fault_set(fault, -EBUSY, "The snapshot '%s' %s", snapshot->key, why) : 0;
}
