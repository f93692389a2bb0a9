/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a List method answers, shown: as a table whose columns name the keys, or as JSON with all keys. */

#include "ctl/command-line.h"
#include "ctl/table.h"

/* What every such verb takes. */
typedef struct ListingOptions {
        bool quiet, full;
        char **filters;
} ListingOptions;

extern const Argument listing_arguments[];

typedef struct Listing {
        const BusTarget *target;
        const char *member;
        const Column *columns; /* the first is what --quiet shows */
        size_t column_count;
} Listing;

int listing_show(Context *context, const Listing *listing, const ListingOptions *options, Fault *fault);

/* An a{sv} at which the message stands, as JSON on standard output. */
int listing_show_entries(const Context *context, sd_bus_message *message, Fault *fault);

/* Calls member(argument, options), argument may be NULL, and shows the a{sv} that it answers. */
int listing_show_answer(Context *context, const BusTarget *target, const char *member, const char *argument,
                        Fault *fault);
