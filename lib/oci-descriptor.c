/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/oci-descriptor.h"

#include "lib/strv.h"

void oci_descriptor_done(OciDescriptor *descriptor) {
        if (!descriptor)
                return;
        free(descriptor->media_type);
        free(descriptor->artifact_type);
        strv_free(descriptor->urls);
        strv_free(descriptor->annotations);
        oci_platform_done(&descriptor->platform);
        *descriptor = (OciDescriptor){ 0 };
}

OciDescriptor *oci_descriptor_free_array(OciDescriptor *descriptors, size_t count) {
        for (size_t i = 0; i < count; i++)
                oci_descriptor_done(&descriptors[i]);
        free(descriptors);
        return NULL;
}
