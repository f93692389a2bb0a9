/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Creations whose image is being resolved, in the order in which they began; and who waits for the end of
 * all that began before him, however many come after. */

#include <stddef.h>
#include <stdint.h>

typedef struct TaskPassage TaskPassage;
struct TaskPassage {
        TaskPassage *previous, *next;
        uint64_t number; /* 0: not under way */
};

typedef void (*TaskBarrierDone)(void *userdata);
typedef struct TaskBarrierWaiter TaskBarrierWaiter;

typedef struct TaskBarrier {
        TaskPassage *oldest, *newest;
        uint64_t begun;
        TaskBarrierWaiter *first_waiter, **last_waiter;
} TaskBarrier;

void task_barrier_enter(TaskBarrier *barrier, TaskPassage *passage);
/* Nothing, when it is not under way. */
void task_barrier_leave(TaskBarrier *barrier, TaskPassage *passage);
/* Calls at once when nothing is under way. */
int task_barrier_wait(TaskBarrier *barrier, TaskBarrierDone done, void *userdata);
