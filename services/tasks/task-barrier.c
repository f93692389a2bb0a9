/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/tasks/task-barrier.h"

#include <errno.h>
#include <stdlib.h>

#include "lib/macros.h"

struct TaskBarrierWaiter {
        TaskBarrierWaiter *next;
        uint64_t until; /* the last number that it waits for */
        TaskBarrierDone done;
        void *userdata;
};

void task_barrier_enter(TaskBarrier *barrier, TaskPassage *passage) {
        *passage = (TaskPassage){ .previous = barrier->newest, .number = ++barrier->begun };
        *(barrier->newest ? &barrier->newest->next : &barrier->oldest) = passage;
        barrier->newest = passage;
}

/* Those who waited for nothing else. They stand in the order in which they came. */
static void answer_waiters(TaskBarrier *barrier) {
        TaskBarrierWaiter *waiter;
        while ((waiter = barrier->first_waiter) &&
               (!barrier->oldest || barrier->oldest->number > waiter->until)) {
                barrier->first_waiter = waiter->next;
                if (!waiter->next)
                        barrier->last_waiter = NULL;
                waiter->done(waiter->userdata);
                free(waiter);
        }
}

void task_barrier_leave(TaskBarrier *barrier, TaskPassage *passage) {
        if (passage->number == 0)
                return;
        *(passage->previous ? &passage->previous->next : &barrier->oldest) = passage->next;
        *(passage->next ? &passage->next->previous : &barrier->newest) = passage->previous;
        *passage = (TaskPassage){ 0 };
        answer_waiters(barrier);
}

int task_barrier_wait(TaskBarrier *barrier, TaskBarrierDone done, void *userdata) {
        if (!barrier->oldest) {
                done(userdata);
                return 0;
        }
        TaskBarrierWaiter *waiter = new0(TaskBarrierWaiter, 1);
        if (!waiter)
                return -ENOMEM;
        *waiter = (TaskBarrierWaiter){ .until = barrier->begun, .done = done, .userdata = userdata };
        *(barrier->last_waiter ? barrier->last_waiter : &barrier->first_waiter) = waiter;
        barrier->last_waiter = &waiter->next;
        return 0;
}
