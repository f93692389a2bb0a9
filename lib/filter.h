/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Filters of lists, in containerd's syntax: "FIELD", "FIELD==VALUE", "FIELD!=VALUE" or "FIELD~=REGEX",
 * joined with "," where all must hold; of several filters one must hold.
 *
 * A field may have a key: labels.name, labels."a b". Values and keys are bare, or quoted as "…" with \" and
 * \\ (and \n, \t, \xHH); a regular expression also as /…/ or |…|, with \ before the delimiter. It is a Perl
 * one (PCRE2, as good as containerd's RE2 for what people write), matches anywhere, and takes bounded time.
 * FIELD alone: it is there. "!=" also holds for what is not there. A field that the list does not have is an
 * error, not an empty result. */

#include <stdbool.h>

#include "lib/fault.h"
#include "lib/macros.h"

typedef struct Filter Filter;

typedef struct FilterField {
        const char *name;
        bool has_key; /* is written with a key behind it */
} FilterField;

/* texts: a strv; NULL or empty gives NULL, the filter that everything passes. fields ends with {}.
 * -EINVAL with a sentence; -EDQUOT beyond LIMIT_FILTER_*. */
int filter_parse(char *const *texts, const FilterField *fields, Filter **ret, Fault *fault);
Filter *filter_free(Filter *filter);
DEFINE_CLEANUP(Filter *, filter_free);

/* The value of a field of the thing in question, NULL if it is not there. key is NULL for fields without.
 * Valid until the next call. */
typedef const char *(*FilterLookup)(const char *field, const char *key, void *userdata);

/* 1, 0, or -EDQUOT when a regular expression takes too long. */
int filter_match(Filter *filter, FilterLookup lookup, void *userdata);
