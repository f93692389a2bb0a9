/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/images/fetch-retry.h"

#include <errno.h>

static uint64_t delay_of(unsigned tries) {
        uint64_t delay = FETCH_RETRY_DELAY_FIRST;
        for (unsigned i = 1; i < tries && delay < FETCH_RETRY_DELAY_MAX; i++)
                delay *= 2;
        return MIN_OF(delay, FETCH_RETRY_DELAY_MAX);
}

static FetchVerdict count_try(unsigned *tries, unsigned maximum, uint64_t *ret_delay) {
        if (*tries >= maximum)
                return FETCH_VERDICT_FAIL;
        *ret_delay = delay_of(++*tries);
        return FETCH_VERDICT_RETRY;
}

static bool error_may_pass(int error) {
        switch (error) {
        case -EHOSTUNREACH:
        case -ECONNREFUSED:
        case -ECONNRESET:
        case -ETIMEDOUT:
        case -EAGAIN:
                return true;
        default:
                return false;
        }
}

FetchVerdict fetch_retry_decide(FetchRetry *retry, const FetchOutcome *outcome, uint64_t *ret_delay) {
        if (outcome->progressed)
                *retry = (FetchRetry){ 0 };
        if (outcome->error < 0) {
                if (!error_may_pass(outcome->error))
                        return FETCH_VERDICT_FAIL;
                return count_try(&retry->no_progress, FETCH_RETRY_NO_PROGRESS_MAX, ret_delay);
        }
        if (outcome->status == 429 || (outcome->status == 503 && outcome->has_retry_after)) {
                FetchVerdict verdict = count_try(&retry->throttled, FETCH_RETRY_THROTTLED_MAX, ret_delay);
                if (verdict == FETCH_VERDICT_RETRY && outcome->has_retry_after)
                        *ret_delay = MIN_OF(outcome->retry_after, FETCH_RETRY_AFTER_MAX);
                return verdict;
        }
        if (outcome->status == 408)
                return count_try(&retry->no_progress, FETCH_RETRY_NO_PROGRESS_MAX, ret_delay);
        if (outcome->status >= 500 && outcome->status != 501 && outcome->status != 505)
                return count_try(&retry->server, FETCH_RETRY_SERVER_MAX, ret_delay);
        return FETCH_VERDICT_FAIL;
}

int fetch_status_to_error(unsigned status) {
        switch (status) {
        case 401:
        case 403:
        case 407:
                return -ENOKEY;
        case 404:
        case 410:
                return -ENOENT;
        default:
                /* "Not now", "I failed", or an answer that no registry gives to such a question. */
                return -EHOSTUNREACH;
        }
}
