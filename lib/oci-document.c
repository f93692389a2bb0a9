/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/oci-document.h"

#include <errno.h>

#include "lib/limits.h"
#include "lib/strv.h"

static bool has(const JsonNode *root, const char *key) {
        return json_object_object_get_ex(root->value, key, NULL);
}

static bool is_document(const MediaType *type) {
        return type && (type->kind == MEDIA_INDEX || type->kind == MEDIA_MANIFEST);
}

static int refuse_schema1(Fault *fault) {
        return fault_set(fault, -EOPNOTSUPP,
                         "manifest: has Docker's schema 1, which is not supported; the "
                         "image must be pushed again by a program of today");
}

static int check_version(const JsonNode *root, Fault *fault) {
        int64_t version = 0;
        int r = json_get_int64(root, "schemaVersion", JSON_REQUIRED, &version, fault);
        if (r < 0)
                return r;
        if (version == 1)
                return refuse_schema1(fault);
        if (version != 2)
                return json_fault_member(root, "schemaVersion", fault, -EBADMSG, "must be 2");
        return 0;
}

/* By its members, which is what Docker and containerd go by where no type is given. */
static int guess_type(const JsonNode *root, const MediaType **ret, Fault *fault) {
        if (has(root, "manifests"))
                *ret = media_type_find(MEDIA_TYPE_OCI_INDEX);
        else if (has(root, "config") || has(root, "layers"))
                *ret = media_type_find(MEDIA_TYPE_OCI_MANIFEST);
        else
                return json_fault(root, fault, "is neither a manifest nor an index");
        return 0;
}

static int find_type(const JsonNode *root, const char *media_type, const MediaType **ret, Fault *fault) {
        const char *own = NULL;
        int r = json_get_string(root, "mediaType", JSON_OPTIONAL, &own, fault);
        if (r < 0)
                return r;
        const MediaType *told = media_type_find(media_type), *found = own ? media_type_find(own) : NULL;
        if ((told && told->kind == MEDIA_SCHEMA1) || (found && found->kind == MEDIA_SCHEMA1))
                return refuse_schema1(fault);
        if (!string_is_empty(own) && !is_document(found))
                return json_fault_member(root, "mediaType", fault, -EBADMSG,
                                         "is neither a manifest's nor an index's: '%.128s'", own);
        if (is_document(told) && found && told != found)
                return json_fault_member(root, "mediaType", fault, -EBADMSG,
                                         "is '%s', but it was announced as '%s'", found->name, told->name);
        if (!found && is_document(told))
                found = told;
        if (!found)
                return guess_type(root, ret, fault);
        *ret = found;
        return 0;
}

int oci_document_parse(const char *data, size_t size, const char *media_type, OciDocument *ret,
                       Fault *fault) {
        if (size > LIMIT_MANIFEST_SIZE)
                return fault_set(fault, -EBADMSG, "manifest: is larger than %u bytes", LIMIT_MANIFEST_SIZE);
        _cleanup_(oci_document_done) OciDocument document = { 0 };
        int r = json_parse(data, size, "manifest", &document.json, fault);
        if (r < 0)
                return r;
        JsonNode root = json_root(document.json, "manifest");
        if (!json_object_is_type(document.json, json_type_object))
                return json_fault(&root, fault, "must be an object");

        r = check_version(&root, fault);
        if (r < 0)
                return r;
        if (has(&root, "fsLayers"))
                return refuse_schema1(fault);
        if (has(&root, "manifests") && (has(&root, "config") || has(&root, "layers")))
                return json_fault(&root, fault, "could be read both as a manifest and as an index");
        r = find_type(&root, media_type, &document.type, fault);
        if (r < 0)
                return r;
        *ret = TAKE(document, (OciDocument){ 0 });
        return 0;
}

void oci_document_done(OciDocument *document) {
        if (document)
                document->json = json_document_free(document->json);
}

int oci_document_identify(const char *data, size_t size, const char *media_type, MediaKind *ret,
                          Fault *fault) {
        _cleanup_(oci_document_done) OciDocument document = { 0 };
        int r = oci_document_parse(data, size, media_type, &document, fault);
        if (r < 0)
                return r;
        *ret = document.type->kind;
        return 0;
}
