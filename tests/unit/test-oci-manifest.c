/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/oci-manifest.h"

#include "lib/limits.h"
#include "lib/media-type.h"
#include "lib/oci-annotations.h"
#include "tests/unit/check-fault.h"
#include "tests/unit/oci-samples.h"

#define MANIFEST(config, layers, more)                                                                      \
        "{\"schemaVersion\":2,\"mediaType\":\"" SAMPLE_OCI_MANIFEST "\",\"config\":" config                 \
        ",\"layers\":[" layers "]" more "}"

static int parse(const char *text, const char *media_type, OciManifest *ret, Fault *fault) {
        return oci_manifest_parse(text, strlen(text), media_type, ret, fault);
}

static void reads_every_member(void) {
        _cleanup_(oci_manifest_done) OciManifest m = { 0 };
        CHECK_NO_FAULT(parse(MANIFEST(SAMPLE_CONFIG, SAMPLE_LAYER "," SAMPLE_LAYER,
                                      ",\"annotations\":{\"k\":\"v\"},\"subject\":" SAMPLE_DESCRIPTOR(
                                              SAMPLE_OCI_MANIFEST, "")),
                             SAMPLE_OCI_MANIFEST, &m, &fault));
        CHECK_STRING(m.media_type, MEDIA_TYPE_OCI_MANIFEST);
        CHECK_STRING(m.config.media_type, MEDIA_TYPE_OCI_CONFIG);
        CHECK_INT(m.layer_count, 2);
        CHECK_INT(m.layers[1].size, 7023);
        CHECK_INT(oci_manifest_layers_size(&m), 2 * 7023);
        CHECK(m.has_subject && !m.artifact_type);
        CHECK_STRING(oci_annotations_get(m.annotations, "k"), "v");
        CHECK_NO_FAULT(oci_manifest_verify_image(&m, &fault));
}

static void reads_docker_schema_2(void) {
        _cleanup_(oci_manifest_done) OciManifest m = { 0 };
        CHECK_NO_FAULT(
                parse("{\"schemaVersion\":2,\"mediaType\":\"" SAMPLE_DOCKER_MANIFEST
                      "\",\"config\":" SAMPLE_DESCRIPTOR(
                              "application/vnd.docker.container.image.v1+json",
                              "") ",\"layers\":[" SAMPLE_DESCRIPTOR("application/"
                                                                    "vnd.docker.image.rootfs.diff.tar.gzip",
                                                                    "") "]}",
                      SAMPLE_DOCKER_MANIFEST, &m, &fault));
        CHECK_STRING(m.media_type, MEDIA_TYPE_DOCKER_MANIFEST);
        CHECK_INT(m.layer_count, 1);
        CHECK_NO_FAULT(oci_manifest_verify_image(&m, &fault));
}

static void an_image_may_have_no_layers(void) {
        _cleanup_(oci_manifest_done) OciManifest m = { 0 };
        CHECK_NO_FAULT(parse(MANIFEST(SAMPLE_CONFIG, "", ""), NULL, &m, &fault));
        CHECK_INT(m.layer_count, 0);
}

static void refusals_name_the_place(void) {
        static const char *const cases[][2] = {
                { MANIFEST("{}", "", ""), "manifest.config.mediaType: is missing" },
                { MANIFEST("[]", "", ""), "manifest.config: must be an object" },
                { MANIFEST(SAMPLE_CONFIG,
                           SAMPLE_LAYER "," SAMPLE_LAYER "," SAMPLE_LAYER
                                        ",{\"mediaType\":\"a/b\",\"digest\":\"md5:00\",\"size\":1}",
                           ""),
                  "manifest.layers[3].digest: unknown algorithm 'md5'" },
                { MANIFEST(SAMPLE_CONFIG, SAMPLE_LAYER ",null", ""),
                  "manifest.layers[1]: must be an object" },
                { "{\"schemaVersion\":2,\"config\":" SAMPLE_CONFIG "}", "manifest.layers: is missing" },
                { "{\"schemaVersion\":2,\"config\":" SAMPLE_CONFIG ",\"layers\":{}}",
                  "manifest.layers: must be an array" },
                { "{\"schemaVersion\":2,\"layers\":[]}", "manifest.config: is missing" },
                { "{\"schemaVersion\":2,\"manifests\":[]}", "manifest: is an index" },
                { MANIFEST(SAMPLE_CONFIG, "", ",\"subject\":{}"), "manifest.subject.mediaType: is missing" },
                { MANIFEST(SAMPLE_CONFIG, "", ",\"artifactType\":\"x\""), "manifest.artifactType" },
                { MANIFEST(SAMPLE_CONFIG, "", ",\"annotations\":{\"k\":{}}"), "manifest.annotations.k" },
        };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                OciManifest m = { 0 };
                CHECK_FAULT(parse(cases[i][0], NULL, &m, &fault), -EBADMSG, cases[i][1]);
                CHECK(!m.media_type && !m.layers);
        }
}

static void sizes_do_not_overflow(void) {
        OciManifest m = { 0 };
        static const char huge[] =
                "{\"mediaType\":\"a/b\",\"digest\":\"" SAMPLE_DIGEST "\",\"size\":9223372036854775807}";
        _cleanup_free_ char *text = NULL;
        CHECK(asprintf(&text, "{\"schemaVersion\":2,\"config\":%s,\"layers\":[%s,%s]}", SAMPLE_CONFIG, huge,
                       huge) > 0);
        CHECK_FAULT(parse(text, NULL, &m, &fault), -EBADMSG, "manifest.layers: are larger together");
}

static void layers_have_a_limit(void) {
        for (unsigned count = LIMIT_MANIFEST_LAYERS; count <= LIMIT_MANIFEST_LAYERS + 1; count++) {
                _cleanup_free_ char *text = NULL;
                size_t size;
                FILE *out = open_memstream(&text, &size);
                fputs("{\"schemaVersion\":2,\"config\":" SAMPLE_CONFIG ",\"layers\":[", out);
                for (unsigned i = 0; i < count; i++)
                        fprintf(out, "%s%s", i > 0 ? "," : "", SAMPLE_LAYER);
                fputs("]}", out);
                fclose(out);
                _cleanup_(oci_manifest_done) OciManifest m = { 0 };
                if (count == LIMIT_MANIFEST_LAYERS)
                        CHECK_NO_FAULT(parse(text, NULL, &m, &fault));
                else
                        CHECK_FAULT(parse(text, NULL, &m, &fault), -EBADMSG,
                                    "manifest.layers: has 501 entries, more than 500");
        }
}

static void artifacts_are_not_images(void) {
        static const char *const cases[][2] = {
                { MANIFEST(SAMPLE_DESCRIPTOR("application/vnd.oci.empty.v1+json", ""), SAMPLE_LAYER, ""),
                  "manifest.config.mediaType: 'application/vnd.oci.empty.v1+json'" },
                { MANIFEST(SAMPLE_CONFIG, SAMPLE_LAYER "," SAMPLE_DESCRIPTOR("text/x", ""), ""),
                  "manifest.layers[1].mediaType: 'text/x'" },
        };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                _cleanup_(oci_manifest_done) OciManifest m = { 0 };
                CHECK_NO_FAULT(parse(cases[i][0], NULL, &m, &fault));
                CHECK_FAULT(oci_manifest_verify_image(&m, &fault), -EOPNOTSUPP, cases[i][1]);
        }
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(reads_every_member),
                CHECK_CASE(reads_docker_schema_2),
                CHECK_CASE(an_image_may_have_no_layers),
                CHECK_CASE(refusals_name_the_place),
                CHECK_CASE(sizes_do_not_overflow),
                CHECK_CASE(layers_have_a_limit),
                CHECK_CASE(artifacts_are_not_images),
                {},
        });
}
