/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "bus/page.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "bus/bus-error.h"
#include "bus/options.h"
#include "lib/limits.h"
#include "lib/strv.h"

typedef struct PageOptions {
        const char *after;
        uint32_t limit;
        char **filters;
} PageOptions;

static const BusOption PAGE_OPTIONS[] = {
        { "after", "s", offsetof(PageOptions, after) },
        { "limit", "u", offsetof(PageOptions, limit) },
        { "filters", "as", offsetof(PageOptions, filters) },
};

static int read_filters(BusPage *page, char *const *texts, const FilterField *fields, sd_bus_error *error) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        int r = filter_parse(texts, fields, &page->filter, &fault);
        return r < 0 ? bus_error_set_fault(error, r, &fault) : 0;
}

static uint64_t now_usec(void) {
        struct timespec now;
        (void) clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t) now.tv_sec * 1000000U + (uint64_t) now.tv_nsec / 1000U;
}

int bus_page_begin(BusPage *page, sd_bus_message *call, const FilterField *fields, sd_bus_error *error) {
        PageOptions options = { .after = "", .limit = LIMIT_PAGE_DEFAULT };

        int r = bus_options_read(call, PAGE_OPTIONS, ELEMENTS_OF(PAGE_OPTIONS), &options, error);
        _cleanup_strv_ char **filters = options.filters;
        if (r < 0)
                return r;
        if (options.limit == 0 || options.limit > LIMIT_PAGE_MAX)
                return bus_invalid_argument(error, "option 'limit': must be 1 to %i", LIMIT_PAGE_MAX);
        r = read_filters(page, filters, fields, error);
        if (r < 0)
                return r;
        page->after = options.after;
        page->limit = options.limit;
        page->error = error;
        page->deadline = now_usec() + LIMIT_PAGE_USEC;
        r = sd_bus_message_new_method_return(call, &page->reply);
        return r < 0 ? r : sd_bus_message_open_container(page->reply, 'a', "a{sv}");
}

int bus_page_offer(BusPage *page, const char *key, FilterLookup lookup, void *userdata) {
        bool late = page->filter && page->seen > 0 && now_usec() > page->deadline;
        if (late || page->taken == page->limit || page->seen == LIMIT_PAGE_MAX ||
            page->bytes > LIMIT_PAGE_BYTES) {
                page->more = true;
                return BUS_PAGE_FULL;
        }
        int r = filter_match(page->filter, lookup, userdata);
        if (r == -EDQUOT)
                return sd_bus_error_setf(page->error, bus_error_name(r),
                                         "option 'filters': a regular expression takes too long on '%s'",
                                         key);
        if (r < 0)
                return r;
        char *last = strdup(key);
        if (!last)
                return -ENOMEM;
        free(page->last);
        page->last = last;
        page->seen++;
        if (r == 0)
                return BUS_PAGE_PASS;
        page->taken++;
        return BUS_PAGE_TAKE;
}

int bus_page_send(BusPage *page) {
        int r = sd_bus_message_close_container(page->reply);
        if (r >= 0)
                r = sd_bus_message_append(page->reply, "s", page->more ? page->last : "");
        return r < 0 ? r : sd_bus_send(NULL, page->reply, NULL);
}

void bus_page_done(BusPage *page) {
        page->filter = filter_free(page->filter);
        page->reply = sd_bus_message_unref(page->reply);
        page->last = mfree(page->last);
}
