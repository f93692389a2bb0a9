/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/tasks/task-barrier.h"

#include "tests/unit/check.h"

static unsigned answered;

static void answer(void *userdata) {
        answered++;
        *(unsigned *) userdata = answered;
}

static void who_waits_for_nothing_is_answered_at_once(void) {
        TaskBarrier barrier = { 0 };
        TaskPassage passage = { 0 };
        unsigned at = answered = 0;
        CHECK_OK(task_barrier_wait(&barrier, answer, &at));
        CHECK_INT(at, 1);
        task_barrier_leave(&barrier, &passage); /* and was never in it */
        task_barrier_enter(&barrier, &passage);
        task_barrier_leave(&barrier, &passage);
        task_barrier_leave(&barrier, &passage);
        CHECK_OK(task_barrier_wait(&barrier, answer, &at));
        CHECK_INT(at, 2);
}

static void what_comes_later_is_not_waited_for(void) {
        TaskBarrier barrier = { 0 };
        TaskPassage early[3], late[2];
        unsigned first = answered = 0, second = 0, third = 0;
        for (size_t i = 0; i < 3; i++)
                task_barrier_enter(&barrier, &early[i]);
        CHECK_OK(task_barrier_wait(&barrier, answer, &first));
        task_barrier_enter(&barrier, &late[0]);
        CHECK_OK(task_barrier_wait(&barrier, answer, &second));
        CHECK_OK(task_barrier_wait(&barrier, answer, &third));
        task_barrier_enter(&barrier, &late[1]);

        task_barrier_leave(&barrier, &early[1]);
        task_barrier_leave(&barrier, &late[1]);
        task_barrier_leave(&barrier, &early[0]);
        CHECK_INT(answered, 0);
        task_barrier_leave(&barrier, &early[2]);
        CHECK_INT(answered, 1);
        CHECK_INT(first, 1);
        task_barrier_enter(&barrier, &late[1]);
        task_barrier_leave(&barrier, &late[0]);
        CHECK_INT(second, 2);
        CHECK_INT(third, 3);
        task_barrier_leave(&barrier, &late[1]);
        CHECK(!barrier.oldest && !barrier.newest && !barrier.first_waiter);
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(who_waits_for_nothing_is_answered_at_once),
                CHECK_CASE(what_comes_later_is_not_waited_for),
                {},
        });
}
