/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/oci-document.h"

#include "lib/limits.h"
#include "tests/unit/check-fault.h"
#include "tests/unit/oci-samples.h"

static int identify(const char *text, const char *media_type, MediaKind *ret, Fault *fault) {
        return oci_document_identify(text, strlen(text), media_type, ret, fault);
}

#define TYPED(type, members) "{\"schemaVersion\":2,\"mediaType\":\"" type "\"," members "}"
#define BARE(members) "{\"schemaVersion\":2," members "}"
#define LAYERS "\"config\":{},\"layers\":[]"
#define MANIFESTS "\"manifests\":[]"

static void all_that_speaks_to_it_decides(void) {
        static const struct {
                const char *text, *media_type;
                MediaKind kind;
        } cases[] = {
                { TYPED(SAMPLE_OCI_MANIFEST, LAYERS), NULL, MEDIA_MANIFEST },
                { TYPED(SAMPLE_OCI_MANIFEST, LAYERS), SAMPLE_OCI_MANIFEST, MEDIA_MANIFEST },
                { TYPED(SAMPLE_DOCKER_MANIFEST, LAYERS), "application/json", MEDIA_MANIFEST },
                { TYPED(SAMPLE_OCI_INDEX, MANIFESTS), NULL, MEDIA_INDEX },
                { TYPED(SAMPLE_DOCKER_INDEX, MANIFESTS), SAMPLE_DOCKER_INDEX, MEDIA_INDEX },
                { BARE(LAYERS), SAMPLE_OCI_MANIFEST, MEDIA_MANIFEST },
                { BARE(LAYERS), NULL, MEDIA_MANIFEST },
                { BARE(LAYERS), "text/plain", MEDIA_MANIFEST },
                { BARE(MANIFESTS), NULL, MEDIA_INDEX },
                { TYPED("", MANIFESTS), NULL, MEDIA_INDEX },
        };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                MediaKind kind = _MEDIA_KIND_INVALID;
                CHECK_NO_FAULT(identify(cases[i].text, cases[i].media_type, &kind, &fault));
                CHECK_INT(kind, cases[i].kind);
        }
}

static void refusals(void) {
        static const struct {
                const char *text, *media_type;
                int error;
                const char *sentence;
        } cases[] = {
                { "[]", NULL, -EBADMSG, "manifest: must be an object" },
                { "{}", NULL, -EBADMSG, "manifest.schemaVersion: is missing" },
                { "{\"schemaVersion\":3}", NULL, -EBADMSG, "manifest.schemaVersion: must be 2" },
                { "{\"schemaVersion\":\"2\"}", NULL, -EBADMSG,
                  "manifest.schemaVersion: must be an integer" },
                { "{\"schemaVersion\":2}", NULL, -EBADMSG, "neither a manifest nor an index" },
                { "{\"schemaVersion\":1,\"fsLayers\":[]}", NULL, -EOPNOTSUPP, "schema 1" },
                { BARE("\"fsLayers\":[]"), NULL, -EOPNOTSUPP, "schema 1" },
                { BARE(LAYERS), "application/vnd.docker.distribution.manifest.v1+prettyjws", -EOPNOTSUPP,
                  "schema 1" },
                { TYPED(SAMPLE_OCI_MANIFEST, LAYERS "," MANIFESTS), NULL, -EBADMSG, "could be read both" },
                { TYPED(SAMPLE_OCI_INDEX, "\"layers\":[]," MANIFESTS), NULL, -EBADMSG,
                  "could be read both" },
                { TYPED(SAMPLE_OCI_INDEX, "\"config\":null," MANIFESTS), NULL, -EBADMSG,
                  "could be read both" },
                { TYPED(SAMPLE_OCI_MANIFEST, LAYERS), SAMPLE_OCI_INDEX, -EBADMSG,
                  "manifest.mediaType: is '" SAMPLE_OCI_MANIFEST "', but it was announced as '" },
                { TYPED(SAMPLE_OCI_MANIFEST, LAYERS), SAMPLE_DOCKER_MANIFEST, -EBADMSG, "was announced as" },
                { TYPED("application/vnd.oci.image.config.v1+json", LAYERS), NULL, -EBADMSG,
                  "neither a manifest's nor an index's: 'application/vnd.oci.image.config.v1+json'" },
                { TYPED("nonsense", LAYERS), SAMPLE_OCI_MANIFEST, -EBADMSG, "'nonsense'" },
                { "<html>", NULL, -EBADMSG, "manifest: " },
        };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                MediaKind kind = _MEDIA_KIND_INVALID;
                CHECK_FAULT(identify(cases[i].text, cases[i].media_type, &kind, &fault), cases[i].error,
                            cases[i].sentence);
                CHECK_INT(kind, _MEDIA_KIND_INVALID);
        }
}

static void size_has_a_limit(void) {
        size_t size = LIMIT_MANIFEST_SIZE + 1;
        _cleanup_free_ char *text = malloc(size + 1);
        memset(text, ' ', size);
        text[size] = '\0';
        memcpy(text, BARE(LAYERS), strlen(BARE(LAYERS)));
        MediaKind kind;
        CHECK_FAULT(identify(text, NULL, &kind, &fault), -EBADMSG, "larger than 4194304 bytes");
        text[size - 1] = '\0';
        CHECK_NO_FAULT(identify(text, NULL, &kind, &fault));
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(all_that_speaks_to_it_decides),
                CHECK_CASE(refusals),
                CHECK_CASE(size_has_a_limit),
                {},
        });
}
