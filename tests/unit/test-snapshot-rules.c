/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/snapshot-rules.h"

#include <errno.h>

#include "lib/macros.h"
#include "tests/unit/check-fault.h"
#include "tests/unit/check.h"

/* Every kind, state and use. A column for each state: prepared, unpacking, unpacked, failed, lost, damaged.
 */
static const struct {
        SnapshotUse use;
        const char *active, *view, *committed;
} expected[] = {
        { SNAPSHOT_USE_PARENT, "-------", "-------", "+-+----" },
        { SNAPSHOT_USE_COMMIT, "+-+----", "-------", "-------" },
        { SNAPSHOT_USE_MOUNT, "+------", "+------", "-------" },
        { SNAPSHOT_USE_UNPACK, "+------", "-------", "-------" },
        { SNAPSHOT_USE_REMOVE, "+-++++-", "+-++++-", "+-++++-" },
        { SNAPSHOT_USE_DIFF, "+------", "+------", "+-+----" },
        { SNAPSHOT_USE_VERIFY, "-------", "-------", "+-+--+-" },
};

static void each_use_is_for_certain_kinds_and_states(void) {
        CHECK_INT(ELEMENTS_OF(expected), _SNAPSHOT_USE_MAX);
        for (size_t i = 0; i < ELEMENTS_OF(expected); i++)
                for (int kind = 0; kind < _SNAPSHOT_KIND_MAX; kind++)
                        for (int state = 0; state < _SNAPSHOT_STATE_MAX; state++) {
                                _cleanup_(fault_done) Fault fault = FAULT_NULL;
                                const Snapshot snapshot = { .key = (char *) "k",
                                                            .kind = (SnapshotKind) kind,
                                                            .state = (SnapshotState) state };
                                const char *row = kind == SNAPSHOT_ACTIVE ? expected[i].active
                                                  : kind == SNAPSHOT_VIEW ? expected[i].view
                                                                          : expected[i].committed;
                                int r = snapshot_check_use(&snapshot, expected[i].use, &fault);
                                CHECK_FORMAT(r == (row[state] == '+' ? 0 : -EBUSY),
                                             "use %zu, kind %i, state %i: %i", i, kind, state, r);
                                CHECK(r == 0 || strstr(fault.text, "The snapshot 'k' "));
                        }
}

static void who_is_refused_reads_why(void) {
        Snapshot snapshot = { .key = (char *) "k", .kind = SNAPSHOT_VIEW };
        CHECK_FAULT(snapshot_check_use(&snapshot, SNAPSHOT_USE_COMMIT, &fault), -EBUSY, "not active");
        snapshot.kind = SNAPSHOT_ACTIVE;
        CHECK_FAULT(snapshot_check_use(&snapshot, SNAPSHOT_USE_PARENT, &fault), -EBUSY, "not committed");
        snapshot.state = SNAPSHOT_LOST;
        CHECK_FAULT(snapshot_check_use(&snapshot, SNAPSHOT_USE_MOUNT, &fault), -EBUSY, "volatile");
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(each_use_is_for_certain_kinds_and_states),
                CHECK_CASE(who_is_refused_reads_why),
                {},
        });
}
