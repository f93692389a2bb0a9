/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What holds for a namespace as a whole: what it has, how much it may have, and whether it shares. */

#include <stdbool.h>
#include <stdint.h>

#include "services/content/content-state.h"

typedef struct NamespaceUsage {
        uint64_t blobs;
        uint64_t bytes;       /* of these; each counts in each namespace that has it */
        uint64_t label_bytes; /* with the names of what has them, and something for each lease */
        uint64_t lease_bytes; /* of what leases name */
        bool shareable;       /* all of them are given to whoever can name their digest */
} NamespaceUsage;

int content_namespace_usage(ContentState *state, const char *namespace, NamespaceUsage *ret);
int content_namespace_share(ContentState *state, const char *namespace, bool shareable);

/* How many bytes of blobs it may have, ingests included; UINT64_MAX: as many as there is space for. Those of
 * users have a limit. */
uint64_t content_namespace_limit(const ContentState *state, const char *namespace);

/* What else those of users have a share of, so that no list of them becomes too long. */
typedef enum NamespaceShare {
        NAMESPACE_BLOBS,
        NAMESPACE_LABELS, /* bytes */
        NAMESPACE_LEASES, /* bytes */
        _NAMESPACE_SHARE_MAX,
        _NAMESPACE_SHARE_INVALID = -22,
} NamespaceShare;
/* UINT64_MAX: as for content_namespace_limit(). */
uint64_t content_namespace_share_limit(const char *namespace, NamespaceShare share);
/* With so much more than there is by now, what was added in the transaction included: -EDQUOT with a
 * sentence if that is more than the namespace may have, or all those of users together. */
int content_namespace_check(ContentState *state, const char *namespace, NamespaceShare share, uint64_t more,
                            Fault *fault);

/* How many more bytes of blobs it may have; ingests: bytes that are arriving. */
int content_namespace_room(ContentState *state, const char *namespace, uint64_t ingests, uint64_t *ret);
