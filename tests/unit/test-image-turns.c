/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/images/turn-queue.h"

#include <stdio.h>
#include <string.h>

#include "tests/unit/check.h"

#define IN_ALL 3
#define PER_NAMESPACE 2

typedef struct Waiter {
        char name;
        Turn *turn;
        bool short_one; /* ends as soon as it begins */
} Waiter;

static sd_event *event;
static TurnQueue *queue;
static char begun[32];
static Waiter waiters[16];
static unsigned count;

static void on_begin(void *userdata) {
        Waiter *waiter = userdata;
        size_t length = strlen(begun);
        CHECK(length + 1 < sizeof(begun));
        begun[length] = waiter->name;
        if (waiter->short_one)
                waiter->turn = turn_free(waiter->turn);
}

/* "name" in the namespace of that letter. */
static Waiter *ask(char name, const char *namespace, bool short_one) {
        Waiter *waiter = &waiters[count++];
        *waiter = (Waiter){ .name = name, .short_one = short_one };
        CHECK_OK(turn_new(queue, namespace, on_begin, waiter, &waiter->turn));
        return waiter;
}

static void run_all(void) {
        int r;
        while ((r = sd_event_run(event, 0)) > 0)
                ;
        CHECK_OK(r);
}

static void end(Waiter *waiter) {
        waiter->turn = turn_free(waiter->turn);
        run_all();
}

static void set_up(void) {
        memset(begun, 0, sizeof(begun));
        count = 0;
        CHECK_OK(sd_event_new(&event));
        CHECK_OK(turn_queue_new(event, IN_ALL, PER_NAMESPACE, &queue));
}

static void tear_down(void) {
        for (unsigned i = 0; i < count; i++)
                turn_free(waiters[i].turn);
        CHECK_INT((int) turn_queue_count(queue), 0);
        turn_queue_free(queue);
        sd_event_unref(event);
}

static void one_namespace_does_not_hold_up_others(void) {
        set_up();
        Waiter *a = ask('a', "x", false), *b = ask('b', "x", false);
        ask('c', "x", false);
        Waiter *d = ask('d', "y", false);
        ask('e', "y", false);
        CHECK_STRING(begun, "");
        run_all();
        CHECK_STRING(begun, "abd");
        CHECK_INT((int) turn_queue_count(queue), 5);
        end(d);
        CHECK_STRING(begun, "abde");
        end(a);
        CHECK_STRING(begun, "abdec");
        end(b);
        CHECK_STRING(begun, "abdec");
        tear_down();
}

static void who_leaves_while_waiting_has_no_turn(void) {
        set_up();
        Waiter *a = ask('a', "x", false);
        ask('b', "x", false);
        Waiter *c = ask('c', "x", false);
        ask('d', "x", false);
        run_all();
        end(c);
        CHECK_STRING(begun, "ab");
        end(a);
        CHECK_STRING(begun, "abd");
        tear_down();
}

static void who_ends_at_once_lets_the_next_begin(void) {
        set_up();
        for (char name = 'a'; name < 'g'; name++)
                ask(name, "x", true);
        run_all();
        CHECK_STRING(begun, "abcdef");
        tear_down();
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(one_namespace_does_not_hold_up_others),
                CHECK_CASE(who_leaves_while_waiting_has_no_turn),
                CHECK_CASE(who_ends_at_once_lets_the_next_begin),
                {},
        });
}
