/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/oci-index.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>

#include "lib/media-type.h"
#include "lib/strv.h"

void oci_index_done(OciIndex *index) {
        if (!index)
                return;
        oci_descriptor_free_array(index->manifests, index->manifest_count);
        strv_free(index->annotations);
        *index = (OciIndex){ 0 };
}

/* image-spec, image-index.md: entries of unknown types are passed over. */
static bool is_candidate(const OciDescriptor *entry) {
        const MediaType *type = media_type_find(entry->media_type);
        return type && (type->kind == MEDIA_MANIFEST || type->kind == MEDIA_INDEX) &&
               !(entry->has_platform && oci_platform_is_unknown(&entry->platform));
}

static int refuse(const OciIndex *index, const OciPlatform *platform, Fault *fault) {
        _cleanup_free_ char *wanted = oci_platform_to_string(platform);
        _cleanup_free_ char *list = NULL;
        size_t size = 0;
        FILE *out = open_memstream(&list, &size);
        if (!wanted || !out) {
                if (out)
                        (void) fclose(out);
                return fault_set_errno(fault, -ENOENT, "index");
        }
        bool any = false;
        for (size_t i = 0; i < index->manifest_count && ftell(out) < 512; i++) {
                const OciDescriptor *entry = &index->manifests[i];
                if (!is_candidate(entry) || !entry->has_platform)
                        continue;
                _cleanup_free_ char *name = oci_platform_to_string(&entry->platform);
                (void) fprintf(out, "%s%s", any ? ", " : "", name ? name : "");
                any = true;
        }
        (void) fclose(out);
        return fault_set(fault, -ENOENT, "no image for the platform %s; there %s%s", wanted,
                         any ? "are: " : "is none for any", any && list ? list : "");
}

int oci_index_select(const OciIndex *index, const OciPlatform *platform, size_t *ret_position,
                     Fault *fault) {
        int best_rank = INT_MAX;
        size_t best = 0;
        bool found = false;

        for (size_t i = 0; i < index->manifest_count; i++) {
                const OciDescriptor *entry = &index->manifests[i];
                if (!is_candidate(entry))
                        continue;
                int rank = entry->has_platform ? oci_platform_rank(platform, &entry->platform) : INT_MAX - 1;
                if (rank >= 0 && rank < best_rank) {
                        best_rank = rank;
                        best = i;
                        found = true;
                }
        }
        if (!found)
                return refuse(index, platform, fault);
        *ret_position = best;
        return 0;
}
