/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Values of HTTP headers that are more than a string. */

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

/* RFC 9110, section 14.4: "bytes 0-99/200", or "*" in place of the 200. */
typedef struct HttpContentRange {
        uint64_t first;
        uint64_t last;
        bool has_total;
        uint64_t total;
} HttpContentRange;

/* -EBADMSG for another unit, no digits, a range that runs backwards or past the total. */
int http_content_range_parse(const char *value, HttpContentRange *ret);

/* RFC 9110, section 10.2.3: seconds, or a date that is held against now. Milliseconds to wait, at most
 * maximum; a date in the past is 0. -EBADMSG for neither. */
int http_retry_after_parse(const char *value, time_t now, uint64_t maximum, uint64_t *ret);
