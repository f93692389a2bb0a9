/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* OCI descriptors (image-spec, descriptor.md): what a document says about another blob. */

#include <stdbool.h>
#include <stdint.h>

#include "lib/digest.h"
#include "lib/fault.h"
#include "lib/json.h"
#include "lib/macros.h"
#include "lib/oci-platform.h"

typedef struct OciDescriptor {
        char *media_type;
        Digest digest;
        uint64_t size;       /* at most INT64_MAX */
        char *artifact_type; /* NULL if not given, like all that follows */
        char **urls;
        char **annotations; /* lib/oci-annotations.h */
        bool has_platform;
        OciPlatform platform;
} OciDescriptor;

/* From the object node. -EBADMSG with a sentence. */
int oci_descriptor_parse(const JsonNode *node, OciDescriptor *ret, Fault *fault);
void oci_descriptor_done(OciDescriptor *descriptor);

/* An array of them, at most limit. An empty array gives NULL and 0. */
int oci_descriptor_parse_array(const JsonNode *node, const char *key, size_t limit, OciDescriptor **ret,
                               size_t *ret_count, Fault *fault);
/* For cleanup of such an array; NULL. */
OciDescriptor *oci_descriptor_free_array(OciDescriptor *descriptors, size_t count);

/* The string member key as a digest; -EBADMSG "…: unknown algorithm 'md5'". Always required. */
int oci_get_digest(const JsonNode *node, const char *key, Digest *ret, Fault *fault);
/* The same for the string node itself. */
int oci_node_digest(const JsonNode *node, Digest *ret, Fault *fault);
/* A media type as a fresh string; 1 found, 0 absent or "". */
int oci_get_media_type(const JsonNode *node, const char *key, JsonPresence presence, char **ret,
                       Fault *fault);
