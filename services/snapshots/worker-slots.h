/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Who of those that wait for a worker may have one. Root and the sibling services have slots apart from
 * those of all others, of whom none gets more than two; and however many are taken, each of them gets one,
 * so that nobody waits for what others ask for. */

#include <stdbool.h>
#include <sys/types.h>

/* Whoever is asked for, and what runs of his kind; zeros but for the first two. */
typedef struct WorkerSlots {
        bool limited;
        uid_t uid;
        unsigned running;
        unsigned of_uid;
} WorkerSlots;

/* For each that runs. */
void worker_slots_count(WorkerSlots *slots, bool limited, uid_t uid);
bool worker_slots_are_free(const WorkerSlots *slots, unsigned maximum);
