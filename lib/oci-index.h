/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Image indexes, and Docker's manifest lists in the same struct; the choice of the manifest for a platform.
 */

#include "lib/fault.h"
#include "lib/macros.h"
#include "lib/oci-descriptor.h"
#include "lib/oci-platform.h"

typedef struct OciIndex {
        const char *media_type; /* MEDIA_TYPE_OCI_INDEX or MEDIA_TYPE_DOCKER_INDEX */
        OciDescriptor *manifests;
        size_t manifest_count;
        char **annotations; /* lib/oci-annotations.h */
} OciIndex;

/* media_type is what the registry or the descriptor said of it, or NULL. -EBADMSG with a sentence. */
int oci_index_parse(const char *data, size_t size, const char *media_type, OciIndex *ret, Fault *fault);
void oci_index_done(OciIndex *index);

/* The position of the entry that serves the platform best; the first of equals. An entry that names no
 * platform is taken when no other serves. What is found may be an index itself. -ENOENT with a sentence that
 * lists the platforms that there are. */
int oci_index_select(const OciIndex *index, const OciPlatform *platform, size_t *ret_position, Fault *fault);
