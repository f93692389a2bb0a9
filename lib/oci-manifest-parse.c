/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>

#include "lib/limits.h"
#include "lib/oci-annotations.h"
#include "lib/oci-document.h"
#include "lib/oci-manifest.h"

static int get_config(const JsonNode *root, OciDescriptor *ret, Fault *fault) {
        JsonNode config;
        int r = json_get(root, "config", json_type_object, JSON_REQUIRED, &config, fault);
        return r < 0 ? r : oci_descriptor_parse(&config, ret, fault);
}

static int get_subject(const JsonNode *root, OciManifest *manifest, Fault *fault) {
        JsonNode subject;
        int r = json_get(root, "subject", json_type_object, JSON_OPTIONAL, &subject, fault);
        if (r <= 0)
                return r;
        r = oci_descriptor_parse(&subject, &manifest->subject, fault);
        manifest->has_subject = r >= 0;
        return r;
}

static int get_layers(const JsonNode *root, OciManifest *manifest, Fault *fault) {
        int r = oci_descriptor_parse_array(root, "layers", LIMIT_MANIFEST_LAYERS, &manifest->layers,
                                           &manifest->layer_count, fault);
        if (r < 0)
                return r;
        uint64_t sum = manifest->config.size;
        for (size_t i = 0; i < manifest->layer_count; i++)
                if (__builtin_add_overflow(sum, manifest->layers[i].size, &sum) ||
                    sum > (uint64_t) INT64_MAX)
                        return json_fault_member(root, "layers", fault, -EBADMSG,
                                                 "are larger together than any file system");
        return 0;
}

int oci_manifest_parse(const char *data, size_t size, const char *media_type, OciManifest *ret,
                       Fault *fault) {
        _cleanup_(oci_document_done) OciDocument document = { 0 };
        int r = oci_document_parse(data, size, media_type, &document, fault);
        if (r < 0)
                return r;
        JsonNode root = json_root(document.json, "manifest");
        if (document.type->kind != MEDIA_MANIFEST)
                return json_fault(&root, fault, "is an index where a manifest was expected");

        _cleanup_(oci_manifest_done) OciManifest manifest = { .media_type = document.type->name };
        r = oci_get_media_type(&root, "artifactType", JSON_OPTIONAL, &manifest.artifact_type, fault);
        if (r >= 0)
                r = get_config(&root, &manifest.config, fault);
        if (r >= 0)
                r = get_layers(&root, &manifest, fault);
        if (r >= 0)
                r = get_subject(&root, &manifest, fault);
        if (r >= 0)
                r = oci_annotations_parse(&root, "annotations", &manifest.annotations, fault);
        if (r < 0)
                return r;
        *ret = TAKE(manifest, (OciManifest){ 0 });
        return 0;
}
