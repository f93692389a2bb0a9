/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Pages: how every List answers. It reads the options "after", "limit" and "filters", makes the reply
 * "aa{sv}s" (entries, and what to give as "after" for the next page; empty at the end), and says for each
 * thing whether it goes in.
 *
 *   _cleanup_(bus_page_done) BusPage page = BUS_PAGE_NULL;
 *   r = bus_page_begin(&page, message, fields, error);
 *   … in the order of the keys, from page.after on, for each thing:
 *        r = bus_page_offer(&page, key, lookup, thing);
 *        BUS_PAGE_TAKE: append its a{sv} to page.reply; BUS_PAGE_PASS: go on; BUS_PAGE_FULL: stop.
 *   return bus_page_send(&page);
 *
 * One call looks at LIMIT_PAGE_MAX things at most, and not for longer than LIMIT_PAGE_USEC, so that no
 * filter keeps the service from its other work: a page may be shorter than asked for, and even empty, and
 * only an empty "next" is the end. */

#include <systemd/sd-bus.h>

#include "lib/filter.h"

typedef struct BusPage {
        const char *after; /* borrowed from the call; "" for the first page */
        sd_bus_message *reply;
        size_t bytes; /* the caller adds the length of labels and the like; see LIMIT_PAGE_BYTES */

        sd_bus_error *error; /* of the handler */
        uint32_t limit;
        uint32_t taken;
        uint64_t deadline;
        uint32_t seen;
        Filter *filter;
        char *last; /* key of the last thing that was looked at */
        bool more;
} BusPage;

#define BUS_PAGE_NULL ((BusPage){ 0 })

/* fields: what a filter may ask for (lib/filter.h). */
int bus_page_begin(BusPage *page, sd_bus_message *call, const FilterField *fields, sd_bus_error *error);

typedef enum BusPageOffer {
        BUS_PAGE_PASS = 0,
        BUS_PAGE_TAKE = 1,
        BUS_PAGE_FULL = 2,
} BusPageOffer;

/* Or a negative errno, with the handler's error set where the client should read a sentence. */
int bus_page_offer(BusPage *page, const char *key, FilterLookup lookup, void *userdata);

int bus_page_send(BusPage *page);
void bus_page_done(BusPage *page);
