/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/limits.h"
#include "lib/oci-annotations.h"
#include "lib/oci-document.h"
#include "lib/oci-index.h"

int oci_index_parse(const char *data, size_t size, const char *media_type, OciIndex *ret, Fault *fault) {
        _cleanup_(oci_document_done) OciDocument document = { 0 };
        int r = oci_document_parse(data, size, media_type, &document, fault);
        if (r < 0)
                return r;
        JsonNode root = json_root(document.json, "index");
        if (document.type->kind != MEDIA_INDEX)
                return json_fault(&root, fault, "is a manifest where an index was expected");

        _cleanup_(oci_index_done) OciIndex index = { .media_type = document.type->name };
        r = oci_descriptor_parse_array(&root, "manifests", LIMIT_INDEX_MANIFESTS, &index.manifests,
                                       &index.manifest_count, fault);
        if (r >= 0)
                r = oci_annotations_parse(&root, "annotations", &index.annotations, fault);
        if (r < 0)
                return r;
        *ret = TAKE(index, (OciIndex){ 0 });
        return 0;
}
