/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Image manifests: OCI's, and Docker's schema 2 in the same struct. */

#include <stdbool.h>

#include "lib/fault.h"
#include "lib/macros.h"
#include "lib/oci-descriptor.h"

typedef struct OciManifest {
        const char *media_type; /* MEDIA_TYPE_OCI_MANIFEST or MEDIA_TYPE_DOCKER_MANIFEST */
        char *artifact_type;    /* NULL: an image */
        OciDescriptor config;
        OciDescriptor *layers; /* lowest first */
        size_t layer_count;
        bool has_subject;
        OciDescriptor subject;
        char **annotations; /* lib/oci-annotations.h */
} OciManifest;

/* media_type is what the registry or the descriptor said of it, or NULL. -EBADMSG with a sentence like
 * "manifest.layers[3].digest: unknown algorithm 'md5'"; -EOPNOTSUPP for Docker's schema 1. */
int oci_manifest_parse(const char *data, size_t size, const char *media_type, OciManifest *ret,
                       Fault *fault);
void oci_manifest_done(OciManifest *manifest);

/* The bytes of all layers together; the parser has made sure that the sum fits. */
uint64_t oci_manifest_layers_size(const OciManifest *manifest);

/* 0 if it is an image that can be unpacked: a known config, and layers of known kinds. -EOPNOTSUPP with a
 * sentence. */
int oci_manifest_verify_image(const OciManifest *manifest, Fault *fault);
