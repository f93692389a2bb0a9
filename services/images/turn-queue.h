/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Turns at something that only so many have at once: in all, and of one namespace. First come, first served;
 * who waits because of their own namespace does not hold up those of others. */

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "lib/macros.h"

typedef struct TurnQueue TurnQueue;
typedef struct Turn Turn;

int turn_queue_new(sd_event *event, unsigned in_all, unsigned per_namespace, TurnQueue **ret);
/* When all turns are over. */
TurnQueue *turn_queue_free(TurnQueue *queue);
DEFINE_CLEANUP(TurnQueue *, turn_queue_free);
/* How many there are, with those that wait. */
unsigned turn_queue_count(const TurnQueue *queue);

/* begin() is called once, by the loop; the turn lasts from then until it is freed. */
int turn_new(TurnQueue *queue, const char *namespace, void (*begin)(void *userdata), void *userdata,
             Turn **ret);
Turn *turn_free(Turn *turn);
DEFINE_CLEANUP(Turn *, turn_free);
