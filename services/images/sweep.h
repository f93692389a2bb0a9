/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Removes what a transfer left unfinished in Content and Snapshots, one after the other. What is in use or
 * gone already is passed over. What is finished goes by tidy.h. */

#include "services/images/image-service.h"

typedef struct Sweep Sweep;

typedef enum SweepKind {
        SWEEP_JOB,    /* an unpacking to be cancelled: its path */
        SWEEP_KEY,    /* an unfinished snapshot */
        SWEEP_KEYS,   /* all unfinished snapshots whose keys begin so */
        SWEEP_INGEST, /* its name: a blob's digest, with "+" and the size if that is known */
        _SWEEP_KIND_MAX,
        _SWEEP_KIND_INVALID = -22,
} SweepKind;

int sweep_new(ImageService *service, Sweep **ret);
/* Only of one that was not started. */
Sweep *sweep_free(Sweep *sweep);
DEFINE_CLEANUP(Sweep *, sweep_free);

int sweep_add(Sweep *sweep, SweepKind kind, const char *namespace, const char *name);
/* All that transfers of a daemon that was killed have left unfinished. */
int sweep_add_unpackings(Sweep *sweep);

/* Takes it over; done() is called at the end, perhaps at once. */
typedef void (*SweepDone)(void *userdata);
void sweep_start(Sweep *sweep, SweepDone done, void *userdata);
