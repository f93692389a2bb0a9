/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/images/turn-queue.h"

#include <errno.h>
#include <string.h>

#include "lib/strv.h"

struct Turn {
        Turn *next;
        TurnQueue *queue; /* weak */
        char *namespace;
        bool begun;
        void (*begin)(void *userdata);
        void *userdata;
};

struct TurnQueue {
        sd_event_source *source; /* somebody may be next */
        unsigned in_all, per_namespace;
        Turn *begun, *waiting; /* each in their order */
        unsigned begun_count, waiting_count;
};

static unsigned count_begun(const TurnQueue *queue, const char *namespace) {
        unsigned count = 0;
        for (const Turn *turn = queue->begun; turn; turn = turn->next)
                count += string_equal(turn->namespace, namespace);
        return count;
}

static void append(Turn **list, Turn *turn) {
        while (*list)
                list = &(*list)->next;
        turn->next = NULL;
        *list = turn;
}

static void take_out(Turn **list, const Turn *turn) {
        while (*list != turn)
                list = &(*list)->next;
        *list = turn->next;
}

static Turn *find_next(const TurnQueue *queue) {
        for (Turn *turn = queue->waiting; turn && queue->begun_count < queue->in_all; turn = turn->next)
                if (count_begun(queue, turn->namespace) < queue->per_namespace)
                        return turn;
        return NULL;
}

/* Whoever begins may end at once, and others with it. */
static int on_turn(sd_event_source *source, void *userdata) {
        TurnQueue *queue = userdata;
        for (Turn *turn; (turn = find_next(queue));) {
                take_out(&queue->waiting, turn);
                append(&queue->begun, turn);
                queue->waiting_count--;
                queue->begun_count++;
                turn->begun = true;
                turn->begin(turn->userdata);
        }
        return 0;
}

int turn_queue_new(sd_event *event, unsigned in_all, unsigned per_namespace, TurnQueue **ret) {
        _cleanup_(turn_queue_freep) TurnQueue *queue = new0(TurnQueue, 1);
        if (!queue)
                return -ENOMEM;
        queue->in_all = in_all;
        queue->per_namespace = per_namespace;
        int r = sd_event_add_defer(event, &queue->source, on_turn, queue);
        if (r >= 0)
                r = sd_event_source_set_enabled(queue->source, SD_EVENT_OFF);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(queue);
        return 0;
}

TurnQueue *turn_queue_free(TurnQueue *queue) {
        if (!queue)
                return NULL;
        assert(!queue->begun && !queue->waiting);
        sd_event_source_disable_unref(queue->source);
        return mfree(queue);
}

unsigned turn_queue_count(const TurnQueue *queue) {
        return queue->begun_count + queue->waiting_count;
}

int turn_new(TurnQueue *queue, const char *namespace, void (*begin)(void *userdata), void *userdata,
             Turn **ret) {
        Turn *turn = new0(Turn, 1);
        if (!turn)
                return -ENOMEM;
        *turn = (Turn){
                .queue = queue,
                .namespace = strdup(namespace),
                .begin = begin,
                .userdata = userdata,
        };
        int r = turn->namespace ? sd_event_source_set_enabled(queue->source, SD_EVENT_ONESHOT) : -ENOMEM;
        if (r < 0) {
                free(turn->namespace);
                free(turn);
                return r;
        }
        append(&queue->waiting, turn);
        queue->waiting_count++;
        *ret = turn;
        return 0;
}

Turn *turn_free(Turn *turn) {
        if (!turn)
                return NULL;
        TurnQueue *queue = turn->queue;
        take_out(turn->begun ? &queue->begun : &queue->waiting, turn);
        if (turn->begun)
                queue->begun_count--;
        else
                queue->waiting_count--;
        (void) sd_event_source_set_enabled(queue->source, SD_EVENT_ONESHOT);
        free(turn->namespace);
        return mfree(turn);
}
