/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/oci-manifest.h"

#include <errno.h>

#include "lib/media-type.h"
#include "lib/strv.h"

void oci_manifest_done(OciManifest *manifest) {
        if (!manifest)
                return;
        free(manifest->artifact_type);
        oci_descriptor_done(&manifest->config);
        oci_descriptor_free_array(manifest->layers, manifest->layer_count);
        oci_descriptor_done(&manifest->subject);
        strv_free(manifest->annotations);
        *manifest = (OciManifest){ 0 };
}

uint64_t oci_manifest_layers_size(const OciManifest *manifest) {
        uint64_t sum = 0;
        for (size_t i = 0; i < manifest->layer_count; i++)
                sum += manifest->layers[i].size;
        return sum;
}

int oci_manifest_verify_image(const OciManifest *manifest, Fault *fault) {
        const MediaType *config = media_type_find(manifest->config.media_type);
        if (!config || config->kind != MEDIA_CONFIG)
                return fault_set(fault, -EOPNOTSUPP, "manifest.config.mediaType: '%s' is not an image's",
                                 manifest->config.media_type);
        for (size_t i = 0; i < manifest->layer_count; i++) {
                const MediaType *layer = media_type_find(manifest->layers[i].media_type);
                if (!layer || layer->kind != MEDIA_LAYER)
                        return fault_set(fault, -EOPNOTSUPP,
                                         "manifest.layers[%zu].mediaType: '%s' is not a known layer's", i,
                                         manifest->layers[i].media_type);
        }
        return 0;
}
