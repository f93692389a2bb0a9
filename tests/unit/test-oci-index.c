/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/oci-index.h"

#include "lib/limits.h"
#include "lib/media-type.h"
#include "tests/unit/check-fault.h"
#include "tests/unit/oci-samples.h"

#define INDEX(entries)                                                                                      \
        "{\"schemaVersion\":2,\"mediaType\":\"" SAMPLE_OCI_INDEX "\",\"manifests\":[" entries "]}"
#define AMD64 SAMPLE_ENTRY(SAMPLE_PLATFORM("linux", "amd64"))
#define AMD64_V3 SAMPLE_ENTRY(SAMPLE_PLATFORM("linux", "amd64") ",\"variant\":\"v3\"")
#define ARM64 SAMPLE_ENTRY(SAMPLE_PLATFORM("linux", "arm64") ",\"variant\":\"v8\"")
#define ARM_V6 SAMPLE_ENTRY(SAMPLE_PLATFORM("linux", "arm") ",\"variant\":\"v6\"")
#define ARM_V7 SAMPLE_ENTRY(SAMPLE_PLATFORM("linux", "arm") ",\"variant\":\"v7\"")
#define WINDOWS SAMPLE_ENTRY(SAMPLE_PLATFORM("windows", "amd64") ",\"os.version\":\"10.0.1\"")
#define ATTESTATION SAMPLE_ENTRY(SAMPLE_PLATFORM("unknown", "unknown"))
#define ANY SAMPLE_DESCRIPTOR(SAMPLE_OCI_MANIFEST, "")
#define NESTED SAMPLE_DESCRIPTOR(SAMPLE_OCI_INDEX, ",\"platform\":{" SAMPLE_PLATFORM("linux", "amd64") "}")
#define OTHER SAMPLE_DESCRIPTOR("text/plain", ",\"platform\":{" SAMPLE_PLATFORM("linux", "amd64") "}")

static int parse(const char *text, OciIndex *ret, Fault *fault) {
        return oci_index_parse(text, strlen(text), NULL, ret, fault);
}

static void selects_what_serves_best(void) {
        static const struct {
                const char *text, *platform;
                size_t position;
        } cases[] = {
                { INDEX(AMD64), "linux/amd64", 0 },
                { INDEX(ARM64 "," AMD64), "linux/amd64", 1 },
                { INDEX(ARM64 "," AMD64), "linux/arm64", 0 },
                { INDEX(ARM_V6 "," ARM_V7 "," ARM64), "linux/arm64", 2 },
                { INDEX(ARM_V6 "," ARM_V7), "linux/arm64", 1 },
                { INDEX(ARM_V6 "," ARM_V7), "linux/arm/v6", 0 },
                { INDEX(ARM_V6 "," ARM_V7), "linux/arm", 1 },
                { INDEX(AMD64 "," AMD64_V3), "linux/amd64/v4", 1 },
                { INDEX(AMD64_V3 "," AMD64), "linux/amd64", 1 },
                { INDEX(AMD64 "," AMD64), "linux/amd64", 0 }, /* the first of equals */
                { INDEX(ATTESTATION "," AMD64), "linux/amd64", 1 },
                { INDEX(ANY "," AMD64), "linux/amd64", 1 },
                { INDEX(ANY "," AMD64), "linux/s390x", 0 },
                { INDEX(WINDOWS "," AMD64), "windows/amd64", 0 },
                { INDEX(OTHER "," AMD64), "linux/amd64", 1 },
                { INDEX(NESTED), "linux/amd64", 0 },
        };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                _cleanup_(oci_index_done) OciIndex index = { 0 };
                _cleanup_(oci_platform_done) OciPlatform platform = { 0 };
                size_t position = 99;
                CHECK_NO_FAULT(parse(cases[i].text, &index, &fault));
                CHECK_OK(oci_platform_parse(cases[i].platform, &platform, NULL));
                CHECK_NO_FAULT(oci_index_select(&index, &platform, &position, &fault));
                CHECK_FORMAT(position == cases[i].position, "case %zu: %zu", i, position);
        }
}

static void a_refusal_lists_what_there_is(void) {
        static const char *const cases[][2] = {
                { INDEX(AMD64 "," ARM_V7 "," ATTESTATION),
                  "no image for the platform linux/riscv64; there are: linux/amd64, linux/arm/v7" },
                { INDEX(ATTESTATION), "no image for the platform linux/riscv64; there is none for any" },
                { INDEX(""), "no image for the platform linux/riscv64; there is none for any" },
        };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                _cleanup_(oci_index_done) OciIndex index = { 0 };
                _cleanup_(oci_platform_done) OciPlatform platform = { 0 };
                size_t position = 99;
                CHECK_NO_FAULT(parse(cases[i][0], &index, &fault));
                CHECK_OK(oci_platform_parse("linux/riscv64", &platform, NULL));
                CHECK_FAULT(oci_index_select(&index, &platform, &position, &fault), -ENOENT, cases[i][1]);
                CHECK_INT(position, 99);
        }
}

static void reads_docker_manifest_lists(void) {
        _cleanup_(oci_index_done) OciIndex index = { 0 };
        CHECK_NO_FAULT(parse("{\"schemaVersion\":2,\"mediaType\":\"" SAMPLE_DOCKER_INDEX
                             "\",\"manifests\":[" SAMPLE_DESCRIPTOR(
                                     SAMPLE_DOCKER_MANIFEST,
                                     ",\"platform\":{" SAMPLE_PLATFORM("linux", "amd64") "}") "]}",
                             &index, &fault));
        CHECK_STRING(index.media_type, MEDIA_TYPE_DOCKER_INDEX);
        CHECK_INT(index.manifest_count, 1);
}

static void refusals_name_the_place(void) {
        static const char *const cases[][2] = {
                { INDEX(AMD64 ",{}"), "index.manifests[1].mediaType: is missing" },
                { INDEX("7"), "index.manifests[0]: must be an object" },
                { INDEX(SAMPLE_ENTRY("\"os\":\"linux\"")), "index.manifests[0].platform.architecture" },
                { "{\"schemaVersion\":2,\"manifests\":{}}", "index.manifests: must be an array" },
                { "{\"schemaVersion\":2,\"mediaType\":\"" SAMPLE_OCI_INDEX "\"}",
                  "index.manifests: is missing" },
                { "{\"schemaVersion\":2,\"config\":{},\"layers\":[]}", "index: is a manifest" },
        };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                OciIndex index = { 0 };
                CHECK_FAULT(parse(cases[i][0], &index, &fault), -EBADMSG, cases[i][1]);
                CHECK(!index.manifests);
        }
}

static void entries_have_a_limit(void) {
        for (unsigned count = LIMIT_INDEX_MANIFESTS; count <= LIMIT_INDEX_MANIFESTS + 1; count++) {
                _cleanup_free_ char *text = NULL;
                size_t size;
                FILE *out = open_memstream(&text, &size);
                fputs("{\"schemaVersion\":2,\"manifests\":[", out);
                for (unsigned i = 0; i < count; i++)
                        fprintf(out, "%s%s", i > 0 ? "," : "", AMD64);
                fputs("]}", out);
                fclose(out);
                _cleanup_(oci_index_done) OciIndex index = { 0 };
                if (count == LIMIT_INDEX_MANIFESTS)
                        CHECK_NO_FAULT(parse(text, &index, &fault));
                else
                        CHECK_FAULT(parse(text, &index, &fault), -EBADMSG,
                                    "index.manifests: has 1025 entries, more than 1024");
        }
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(selects_what_serves_best),
                CHECK_CASE(a_refusal_lists_what_there_is),
                CHECK_CASE(reads_docker_manifest_lists),
                CHECK_CASE(refusals_name_the_place),
                CHECK_CASE(entries_have_a_limit),
                {},
        });
}
