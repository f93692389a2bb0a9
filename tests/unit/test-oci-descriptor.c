/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/oci-descriptor.h"

#include "lib/limits.h"
#include "lib/oci-annotations.h"
#include "lib/strv.h"
#include "tests/unit/check-fault.h"
#include "tests/unit/oci-samples.h"

static int parse(const char *text, OciDescriptor *ret, Fault *fault) {
        _cleanup_json_ json_object *document = NULL;
        int r = json_parse(text, strlen(text), "d", &document, fault);
        if (r < 0)
                return r;
        JsonNode root = json_root(document, "d");
        return oci_descriptor_parse(&root, ret, fault);
}

static void reads_every_member(void) {
        _cleanup_(oci_descriptor_done) OciDescriptor d = { 0 };
        char buffer[DIGEST_STRING_MAX];
        CHECK_NO_FAULT(parse("{\"mediaType\":\"application/x\",\"digest\":\"" SAMPLE_DIGEST
                             "\",\"size\":9223372036854775807,\"urls\":[\"https://example.org/\"],"
                             "\"annotations\":{\"a\":\"1\",\"b\":\"\"},\"artifactType\":\"text/plain\","
                             "\"data\":\"YWJj\",\"unknown\":[1],"
                             "\"platform\":{" SAMPLE_PLATFORM("linux", "amd64") "}}",
                             &d, &fault));
        CHECK_STRING(d.media_type, "application/x");
        CHECK_STRING(digest_to_string(&d.digest, buffer), SAMPLE_DIGEST);
        CHECK(d.size == INT64_MAX);
        CHECK_STRING(d.urls[0], "https://example.org/");
        CHECK_STRING(d.artifact_type, "text/plain");
        CHECK(d.has_platform);
        CHECK_STRING(d.platform.architecture, "amd64");
        CHECK_INT(strv_length(d.annotations), 4);
        CHECK_STRING(oci_annotations_get(d.annotations, "a"), "1");
        CHECK_STRING(oci_annotations_get(d.annotations, "b"), "");
        CHECK(!oci_annotations_get(d.annotations, "1") && !oci_annotations_get(NULL, "a"));
}

static void what_is_not_given_is_null(void) {
        _cleanup_(oci_descriptor_done) OciDescriptor d = { 0 };
        CHECK_NO_FAULT(parse(SAMPLE_CONFIG, &d, &fault));
        CHECK(!d.urls && !d.annotations && !d.artifact_type && !d.has_platform);
        CHECK_INT(d.size, 7023);
}

static void our_own_annotations_are_not_taken_from_others(void) {
        _cleanup_(oci_descriptor_done) OciDescriptor d = { 0 };
        CHECK_NO_FAULT(parse(SAMPLE_DESCRIPTOR("a/b", ",\"annotations\":{\"org.crt.gc.root\":\"1\","
                                                      "\"org.crtx\":\"2\"}"),
                             &d, &fault));
        CHECK(!oci_annotations_get(d.annotations, "org.crt.gc.root"));
        CHECK_STRING(oci_annotations_get(d.annotations, "org.crtx"), "2");
}

static void refusals_name_the_member(void) {
        static const char *const cases[][2] = {
                { "{}", "d.mediaType: is missing" },
                { "{\"mediaType\":\"nonsense\"}", "d.mediaType: is not a media type" },
                { "{\"mediaType\":\"\"}", "d.mediaType: is not a media type" },
                { "{\"mediaType\":5}", "d.mediaType: must be a string" },
                { "{\"mediaType\":\"a/b\"}", "d.digest: is missing" },
                { "{\"mediaType\":\"a/b\",\"digest\":\"md5:00\"}", "d.digest: unknown algorithm 'md5'" },
                { "{\"mediaType\":\"a/b\",\"digest\":\"sha256:00\"}", "d.digest: is not a digest" },
                { "{\"mediaType\":\"a/b\",\"digest\":\"" SAMPLE_DIGEST "\"}", "d.size: is missing" },
                { "{\"mediaType\":\"a/b\",\"digest\":\"" SAMPLE_DIGEST "\",\"size\":-1}",
                  "d.size: must not be negative" },
                { "{\"mediaType\":\"a/b\",\"digest\":\"" SAMPLE_DIGEST "\",\"size\":9223372036854775808}",
                  "d.size: is too large" },
                { "{\"mediaType\":\"a/b\",\"digest\":\"" SAMPLE_DIGEST "\",\"size\":1.0}",
                  "d.size: must be an integer" },
                { "{\"mediaType\":\"a/b\",\"digest\":\"" SAMPLE_DIGEST "\",\"size\":\"1\"}",
                  "d.size: must be an integer" },
                { SAMPLE_DESCRIPTOR("a/b", ",\"urls\":\"x\""), "d.urls: must be an array" },
                { SAMPLE_DESCRIPTOR("a/b", ",\"urls\":[1]"), "d.urls[0]: must be a string" },
                { SAMPLE_DESCRIPTOR("a/b", ",\"artifactType\":\"x\""), "d.artifactType: is not a media" },
                { SAMPLE_DESCRIPTOR("a/b", ",\"annotations\":[]"), "d.annotations: must be an object" },
                { SAMPLE_DESCRIPTOR("a/b", ",\"annotations\":{\"k\":1}"), "d.annotations.k: must be a" },
                { SAMPLE_DESCRIPTOR("a/b", ",\"annotations\":{\"\":\"v\"}"), "has an empty key" },
                { SAMPLE_DESCRIPTOR("a/b", ",\"platform\":{}"), "d.platform.os: is missing" },
                { "[]", "d: must be an object" },
        };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                OciDescriptor d = { 0 };
                CHECK_FAULT(parse(cases[i][0], &d, &fault), -EBADMSG, cases[i][1]);
                CHECK(!d.media_type);
        }
}

static void annotations_have_a_limit(void) {
        for (unsigned count = LIMIT_ANNOTATIONS; count <= LIMIT_ANNOTATIONS + 1; count++) {
                _cleanup_free_ char *text = NULL;
                size_t size;
                FILE *out = open_memstream(&text, &size);
                fputs("{\"mediaType\":\"a/b\",\"digest\":\"" SAMPLE_DIGEST "\",\"size\":1,\"annotations\":{",
                      out);
                for (unsigned i = 0; i < count; i++)
                        fprintf(out, "%s\"k%u\":\"\"", i > 0 ? "," : "", i);
                fputs("}}", out);
                fclose(out);
                _cleanup_(oci_descriptor_done) OciDescriptor d = { 0 };
                if (count == LIMIT_ANNOTATIONS)
                        CHECK_NO_FAULT(parse(text, &d, &fault));
                else
                        CHECK_FAULT(parse(text, &d, &fault), -EBADMSG, "d.annotations: has more than 1024");
        }
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(reads_every_member),
                CHECK_CASE(what_is_not_given_is_null),
                CHECK_CASE(our_own_annotations_are_not_taken_from_others),
                CHECK_CASE(refusals_name_the_member),
                CHECK_CASE(annotations_have_a_limit),
                {},
        });
}
