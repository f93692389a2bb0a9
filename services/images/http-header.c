/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/images/http-header.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "lib/macros.h"
#include "lib/strv.h"

/* Digits at *position, which moves behind them. */
static int parse_digits(const char **position, uint64_t *ret) {
        size_t length = strspn(*position, "0123456789");
        char digits[21];
        if (length == 0 || length >= sizeof(digits))
                return -EBADMSG;
        memcpy(digits, *position, length);
        digits[length] = '\0';
        if (string_to_uint64(digits, INT64_MAX, ret) < 0)
                return -EBADMSG;
        *position += length;
        return 0;
}

int http_content_range_parse(const char *value, HttpContentRange *ret) {
        HttpContentRange range = { 0 };

        if (strncasecmp(value, "bytes ", 6) != 0)
                return -EBADMSG;
        const char *p = value + 6;
        if (parse_digits(&p, &range.first) < 0 || *p++ != '-' || parse_digits(&p, &range.last) < 0 ||
            *p++ != '/')
                return -EBADMSG;
        if (range.last < range.first)
                return -EBADMSG;
        if (!string_equal(p, "*")) {
                if (parse_digits(&p, &range.total) < 0 || *p != '\0' || range.last >= range.total)
                        return -EBADMSG;
                range.has_total = true;
        }
        *ret = range;
        return 0;
}

int http_retry_after_parse(const char *value, time_t now, uint64_t maximum, uint64_t *ret) {
        const char *p = value;
        uint64_t seconds;

        if (parse_digits(&p, &seconds) < 0) {
                struct tm tm = { 0 };
                const char *end = strptime(value, "%a, %d %b %Y %H:%M:%S GMT", &tm);
                if (!end || *end != '\0')
                        return -EBADMSG;
                time_t then = timegm(&tm);
                seconds = then > now ? (uint64_t) (then - now) : 0;
        } else if (*p != '\0')
                return -EBADMSG;
        *ret = seconds > maximum / 1000 ? maximum : seconds * 1000;
        return 0;
}
