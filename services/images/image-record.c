/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/images/image-record.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/strv.h"

void image_record_done(ImageRecord *record) {
        free(record->namespace);
        free(record->name);
        free(record->digest);
        free(record->media_type);
        free(record->manifest);
        free(record->config);
        free(record->chain_id);
        free(record->platform);
        free(record->config_records);
        strv_free(record->blobs);
        strv_free(record->chains);
        strv_free(record->labels);
        *record = (ImageRecord){ 0 };
}

uint64_t image_record_parse_time(const char *text) {
        struct tm tm = { 0 };
        uint64_t fraction = 0;
        long offset = 0;

        const char *p = text ? strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;
        if (!p)
                return 0;
        if (*p == '.') {
                uint64_t unit = 100000;
                for (p++; isdigit((unsigned char) *p); p++, unit /= 10)
                        fraction += (uint64_t) (*p - '0') * unit;
        }
        if (*p == '+' || *p == '-') {
                unsigned hours, minutes;
                if (sscanf(p + 1, "%2u:%2u", &hours, &minutes) != 2)
                        return 0;
                offset = (long) (hours * 3600 + minutes * 60) * (*p == '-' ? -1 : 1);
        } else if (*p != 'Z' && *p != 'z')
                return 0;
        time_t seconds = timegm(&tm) - offset;
        return seconds > 0 ? (uint64_t) seconds * 1000000 + fraction : 0;
}
