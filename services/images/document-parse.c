/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>

#include "lib/oci-document.h"
#include "services/images/document.h"

static int parse_config(const char *data, size_t size, Document *document, Fault *fault) {
        document->kind = DOCUMENT_CONFIG;
        return oci_image_config_parse(data, size, &document->config, fault);
}

int document_parse(const char *data, size_t size, bool is_config, const char *media_type, Document *ret,
                   Fault *fault) {
        Document document = { 0 };
        MediaKind kind = MEDIA_CONFIG;
        int r = 0;

        if (!is_config)
                r = oci_document_identify(data, size, media_type, &kind, fault);
        if (r < 0)
                return r;
        switch (kind) {
        case MEDIA_CONFIG:
                r = parse_config(data, size, &document, fault);
                break;
        case MEDIA_INDEX:
                document.kind = DOCUMENT_INDEX;
                r = oci_index_parse(data, size, media_type, &document.index, fault);
                break;
        default:
                document.kind = DOCUMENT_MANIFEST;
                r = oci_manifest_parse(data, size, media_type, &document.manifest, fault);
        }
        if (r < 0)
                return r;
        *ret = document;
        return 0;
}
