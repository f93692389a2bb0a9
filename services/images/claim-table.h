/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Who is busy with which blob or snapshot of a namespace, so that two transfers do not fetch or unpack the
 * same thing, and none loses what it counts on to the removal of an image. */

#include <stdbool.h>

#include "lib/macros.h"

typedef struct ClaimTable ClaimTable;
typedef struct ClaimHold ClaimHold;

int claim_table_new(ClaimTable **ret);
ClaimTable *claim_table_free(ClaimTable *table);
DEFINE_CLEANUP(ClaimTable *, claim_table_free);

typedef enum ClaimKind {
        CLAIM_BUSY, /* is making, or removing it: one at a time */
        CLAIM_NEED, /* counts on it: any number */
} ClaimKind;

/* name: a digest or a snapshot's name; the two never collide where they mean different things ("blob" or
 * "snapshot" as kind of thing stands before it). -EBUSY if it is CLAIM_BUSY and somebody else is. */
int claim_table_hold(ClaimTable *table, ClaimKind kind, const char *namespace, const char *thing,
                     const char *name, ClaimHold **ret);
ClaimHold *claim_hold_free(ClaimHold *hold);
DEFINE_CLEANUP(ClaimHold *, claim_hold_free);

/* All that is held, until visit returns a negative value. */
typedef int (*ClaimVisit)(const char *namespace, const char *thing, const char *name, void *userdata);
int claim_table_visit(const ClaimTable *table, ClaimVisit visit, void *userdata);

/* Somebody is busy with it, or counts on it. */
bool claim_table_has(const ClaimTable *table, const char *namespace, const char *thing, const char *name);
