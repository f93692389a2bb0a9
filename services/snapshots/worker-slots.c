/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/worker-slots.h"

#define SLOTS_PER_UID 2

void worker_slots_count(WorkerSlots *slots, bool limited, uid_t uid) {
        if (limited != slots->limited)
                return;
        slots->running++;
        slots->of_uid += uid == slots->uid;
}

bool worker_slots_are_free(const WorkerSlots *slots, unsigned maximum) {
        if (!slots->limited)
                return slots->running < maximum;
        return slots->of_uid == 0 || (slots->running < maximum && slots->of_uid < SLOTS_PER_UID);
}
