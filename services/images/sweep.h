/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Removes things in Content and Snapshots one after the other: what a transfer left unfinished, what an
 * image needed. What is needed by then, in use or gone already is passed over. */

#include "services/images/image-service.h"

typedef struct Sweep Sweep;

typedef enum SweepKind {
        SWEEP_JOB,      /* an unpacking to be cancelled: its path */
        SWEEP_KEY,      /* an unfinished snapshot */
        SWEEP_KEYS,     /* all unfinished snapshots whose keys begin so */
        SWEEP_INGEST,   /* its name: a blob's digest, with "+" and the size if that is known */
        SWEEP_SNAPSHOT, /* a finished one, unless it is needed */
        SWEEP_BLOB,     /* unless it is needed */
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
