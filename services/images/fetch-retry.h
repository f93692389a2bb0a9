/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Whether a try that failed is worth another one, and when. Tries that brought bytes do not count; those
 * that brought none do, and so do a registry's "not now" and its own failures, each up to a number of its
 * own. */

#include <stdbool.h>
#include <stdint.h>

#include "lib/macros.h"

#define FETCH_RETRY_NO_PROGRESS_MAX 3 /* connection lost or silent */
#define FETCH_RETRY_SERVER_MAX 3      /* 5xx */
#define FETCH_RETRY_THROTTLED_MAX 6   /* 429, and 503 with Retry-After */
#define FETCH_RETRY_DELAY_FIRST 300ULL
#define FETCH_RETRY_DELAY_MAX 10000ULL
#define FETCH_RETRY_AFTER_MAX 60000ULL

typedef struct FetchRetry {
        unsigned no_progress;
        unsigned server;
        unsigned throttled;
} FetchRetry;

/* How one try ended. */
typedef struct FetchOutcome {
        int error;       /* negative errno of the connection; 0: there was an answer */
        unsigned status; /* of HTTP */
        bool progressed; /* brought bytes that are not there yet */
        bool has_retry_after;
        uint64_t retry_after; /* milliseconds */
} FetchOutcome;

typedef enum FetchVerdict {
        FETCH_VERDICT_RETRY,
        FETCH_VERDICT_FAIL,
} FetchVerdict;

/* The delay is in milliseconds. */
FetchVerdict fetch_retry_decide(FetchRetry *retry, const FetchOutcome *outcome, uint64_t *ret_delay);

/* What a final answer with this status means: -ENOKEY, -ENOENT, -EHOSTUNREACH … */
int fetch_status_to_error(unsigned status);
