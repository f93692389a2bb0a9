/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One walk through the blobs of a namespace, or to one of them: whether their bytes are still what they
 * were. What is damaged is marked. */

#include <systemd/sd-event.h>

#include "services/content/content-state.h"

typedef struct VerificationResult {
        uint64_t blobs;      /* that were looked at */
        uint64_t bytes;      /* of these */
        uint64_t damaged;    /* of these */
        uint64_t missed;     /* could not be read for another reason, or went meanwhile */
        uint64_t unreadable; /* of these last: the disk does not give them, and nothing is said of their
                                bytes */
        char *digests;       /* of damaged ones, with blanks between them; at most a hundred; may be NULL */
} VerificationResult;

typedef struct VerificationSpec {
        const char *namespace;
        const Digest *digest; /* NULL: all */
        void (*progress)(uint64_t bytes, void *userdata);
        /* Once, unless it is freed before; it may be freed here. The result is there in any case: with an
         * error if something was unreadable. */
        void (*ended)(int r, const Fault *fault, const VerificationResult *result, void *userdata);
        void *userdata;
} VerificationSpec;

typedef struct Verification Verification;

/* Begins with the loop's next turn. */
int verification_new(sd_event *event, ContentState *state, const VerificationSpec *spec, Verification **ret);
/* Stops it where it is. */
Verification *verification_free(Verification *verification);
DEFINE_CLEANUP(Verification *, verification_free);
