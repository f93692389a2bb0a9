/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What holds for a namespace as a whole: what it has, how much it may have, and whether it shares. */

#include <stdbool.h>
#include <stdint.h>

#include "services/content/content-state.h"

typedef struct NamespaceUsage {
        uint64_t blobs;
        uint64_t bytes; /* of these; each counts in each namespace that has it */
        bool shareable; /* all of them are given to whoever can name their digest */
} NamespaceUsage;

int content_namespace_usage(ContentState *state, const char *namespace, NamespaceUsage *ret);
int content_namespace_share(ContentState *state, const char *namespace, bool shareable);

/* How many bytes it may have, ingests included; UINT64_MAX: as many as there is space for. Those of users
 * have a limit. */
uint64_t content_namespace_limit(const char *namespace);

/* How many more it may have; ingests: bytes that are arriving. */
int content_namespace_room(ContentState *state, const char *namespace, uint64_t ingests, uint64_t *ret);
