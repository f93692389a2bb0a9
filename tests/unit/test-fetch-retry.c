/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/images/fetch-retry.h"
#include "tests/unit/check.h"

static unsigned count_tries(FetchOutcome outcome) {
        FetchRetry retry = { 0 };
        uint64_t delay = 0;
        unsigned tries = 0;
        while (fetch_retry_decide(&retry, &outcome, &delay) == FETCH_VERDICT_RETRY && tries < 100)
                tries++;
        return tries;
}

static void gives_up_after_a_few_tries_that_bring_nothing(void) {
        CHECK_INT(count_tries((FetchOutcome){ .error = -ECONNRESET }), FETCH_RETRY_NO_PROGRESS_MAX);
        CHECK_INT(count_tries((FetchOutcome){ .error = -ETIMEDOUT }), FETCH_RETRY_NO_PROGRESS_MAX);
        CHECK_INT(count_tries((FetchOutcome){ .status = 500 }), FETCH_RETRY_SERVER_MAX);
        CHECK_INT(count_tries((FetchOutcome){ .status = 503 }), FETCH_RETRY_SERVER_MAX);
        CHECK_INT(count_tries((FetchOutcome){ .status = 429 }), FETCH_RETRY_THROTTLED_MAX);
        CHECK_INT(count_tries((FetchOutcome){ .status = 503, .has_retry_after = true }),
                  FETCH_RETRY_THROTTLED_MAX);
}

static void goes_on_as_long_as_bytes_come(void) {
        CHECK_INT(count_tries((FetchOutcome){ .error = -ECONNRESET, .progressed = true }), 100);
}

static void does_not_ask_again_what_was_answered(void) {
        static const unsigned final[] = { 400, 401, 403, 404, 405, 410, 416, 418, 501, 505 };
        for (size_t i = 0; i < ELEMENTS_OF(final); i++)
                CHECK_INT(count_tries((FetchOutcome){ .status = final[i] }), 0);
        CHECK_INT(count_tries((FetchOutcome){ .error = -EACCES }), 0);
        CHECK_INT(count_tries((FetchOutcome){ .error = -EPROTO }), 0);
        CHECK_INT(count_tries((FetchOutcome){ .error = -ECANCELED }), 0);
}

static void waits_longer_each_time(void) {
        FetchRetry retry = { 0 };
        FetchOutcome outcome = { .status = 429 };
        uint64_t last = 0, delay;
        for (unsigned i = 0; i < FETCH_RETRY_THROTTLED_MAX; i++) {
                CHECK_INT(fetch_retry_decide(&retry, &outcome, &delay), FETCH_VERDICT_RETRY);
                CHECK(delay > last && delay <= FETCH_RETRY_DELAY_MAX);
                last = delay;
        }
}

static void obeys_retry_after_within_reason(void) {
        FetchRetry retry = { 0 };
        uint64_t delay;
        fetch_retry_decide(&retry,
                           &(FetchOutcome){ .status = 429, .has_retry_after = true, .retry_after = 7000 },
                           &delay);
        CHECK_INT(delay, 7000);
        fetch_retry_decide(&retry,
                           &(FetchOutcome){ .status = 429, .has_retry_after = true, .retry_after = 3600000 },
                           &delay);
        CHECK_INT(delay, FETCH_RETRY_AFTER_MAX);
}

static void names_what_an_answer_means(void) {
        CHECK_ERROR(fetch_status_to_error(401), -ENOKEY);
        CHECK_ERROR(fetch_status_to_error(403), -ENOKEY);
        CHECK_ERROR(fetch_status_to_error(404), -ENOENT);
        CHECK_ERROR(fetch_status_to_error(429), -EHOSTUNREACH);
        CHECK_ERROR(fetch_status_to_error(500), -EHOSTUNREACH);
        CHECK_ERROR(fetch_status_to_error(418), -EHOSTUNREACH);
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(gives_up_after_a_few_tries_that_bring_nothing),
                CHECK_CASE(goes_on_as_long_as_bytes_come),
                CHECK_CASE(does_not_ask_again_what_was_answered),
                CHECK_CASE(waits_longer_each_time),
                CHECK_CASE(obeys_retry_after_within_reason),
                CHECK_CASE(names_what_an_answer_means),
                {},
        });
}
