/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <string.h>

#include "lib/limits.h"
#include "lib/media-type.h"
#include "lib/oci-manifest.h"
#include "tests/fuzz/fuzz.h"

static void require_sound(const OciDescriptor *descriptor) {
        char string[DIGEST_STRING_MAX];
        Digest again;
        FUZZ_REQUIRE(media_type_is_valid(descriptor->media_type));
        FUZZ_REQUIRE(descriptor->size <= (uint64_t) INT64_MAX);
        FUZZ_REQUIRE(digest_parse(digest_to_string(&descriptor->digest, string), &again) >= 0);
        FUZZ_REQUIRE(digest_equal(&again, &descriptor->digest));
}

int fuzz_parse(const uint8_t *data, size_t size) {
        Fault fault = FAULT_NULL;
        _cleanup_(oci_manifest_done) OciManifest manifest = { 0 };
        int r = oci_manifest_parse((const char *) data, size, NULL, &manifest, &fault);
        if (r >= 0) {
                FUZZ_REQUIRE(manifest.layer_count <= LIMIT_MANIFEST_LAYERS);
                FUZZ_REQUIRE(oci_manifest_layers_size(&manifest) <= (uint64_t) INT64_MAX);
                require_sound(&manifest.config);
                for (size_t i = 0; i < manifest.layer_count; i++)
                        require_sound(&manifest.layers[i]);
                (void) oci_manifest_verify_image(&manifest, NULL);
        }
        return fuzz_result(r, &fault);
}
