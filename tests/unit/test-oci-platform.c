/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/oci-platform.h"

#include <sys/utsname.h>

#include "tests/unit/check-fault.h"

static OciPlatform platform(const char *string) {
        OciPlatform p = { 0 };
        CHECK_NO_FAULT(oci_platform_parse(string, &p, &fault));
        return p;
}

static void normal_forms(void) {
        static const char *const cases[][2] = {
                { "linux/amd64", "linux/amd64" },       { "linux/x86_64", "linux/amd64" },
                { "linux/amd64/v1", "linux/amd64" },    { "linux/amd64/v3", "linux/amd64/v3" },
                { "Linux/AMD64", "linux/amd64" },       { "amd64", "linux/amd64" },
                { "linux/arm64", "linux/arm64" },       { "linux/arm64/v8", "linux/arm64" },
                { "linux/arm64/8", "linux/arm64" },     { "linux/aarch64", "linux/arm64" },
                { "linux/arm64/v9", "linux/arm64/v9" }, { "linux/arm", "linux/arm/v7" },
                { "linux/arm/7", "linux/arm/v7" },      { "linux/arm/v6", "linux/arm/v6" },
                { "linux/armhf", "linux/arm/v7" },      { "linux/armel", "linux/arm/v6" },
                { "armv6l", "linux/arm/v6" },           { "linux/i686", "linux/386" },
                { "linux/riscv64", "linux/riscv64" },   { "windows/amd64", "windows/amd64" },
                { "macos/arm64", "darwin/arm64" },
        };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                _cleanup_(oci_platform_done) OciPlatform p = platform(cases[i][0]);
                _cleanup_free_ char *string = oci_platform_to_string(&p);
                CHECK_STRING(string, cases[i][1]);
                _cleanup_(oci_platform_done) OciPlatform again = platform(string), copy = { 0 };
                CHECK_INT(oci_platform_rank(&p, &again), 0);
                CHECK_OK(oci_platform_copy(&p, &copy));
                CHECK_INT(oci_platform_rank(&p, &copy), 0);
        }
}

static void refuses_other_strings(void) {
        static const char *const bad[] = { "",
                                           "/",
                                           "linux/",
                                           "/amd64",
                                           "a/b/c/d",
                                           "linux//v8",
                                           "li nux/amd64",
                                           "linux/am\nd64",
                                           "linux/amd64/",
                                           "linux/\xc3\xa4" };
        for (size_t i = 0; i < ELEMENTS_OF(bad); i++) {
                OciPlatform p = { 0 };
                CHECK_FAULT(oci_platform_parse(bad[i], &p, &fault), -EINVAL, "is not a platform");
                CHECK(!p.os);
        }
}

static void this_machine(void) {
        struct utsname name;
        _cleanup_(oci_platform_done) OciPlatform p = { 0 };
        CHECK_OK(oci_platform_of_machine(&p));
        CHECK_STRING(p.os, "linux");
        CHECK_INT(uname(&name), 0);
        if (strcmp(name.machine, "x86_64") == 0)
                CHECK_STRING(p.architecture, "amd64");
        else if (strcmp(name.machine, "aarch64") == 0)
                CHECK_STRING(p.architecture, "arm64");
        else
                CHECK(p.architecture[0]);
}

static void who_serves_whom(void) {
        /* Each row is in order from best to worst; what is not in it does not serve. */
        static const struct {
                const char *wanted, *served[8], *refused[5];
        } cases[] = {
                { "linux/amd64",
                  { "linux/amd64", "linux/386" },
                  { "linux/amd64/v2", "linux/arm64", "windows/amd64" } },
                { "linux/amd64/v3",
                  { "linux/amd64/v3", "linux/amd64/v2", "linux/amd64", "linux/386" },
                  { "linux/amd64/v4" } },
                { "linux/arm64",
                  { "linux/arm64", "linux/arm/v8", "linux/arm/v7", "linux/arm/v6", "linux/arm/v5" },
                  { "linux/arm64/v9", "linux/arm64be", "linux/amd64" } },
                { "linux/arm64/v9.2",
                  { "linux/arm64/v9.2", "linux/arm64/v9", "linux/arm64" },
                  { "linux/arm64/v9.3" } },
                { "linux/arm",
                  { "linux/arm/v7", "linux/arm/v6", "linux/arm/v5" },
                  { "linux/arm/v8", "linux/arm64" } },
                { "linux/arm/v6", { "linux/arm/v6", "linux/arm/v5" }, { "linux/arm/v7", "linux/arm/vx" } },
                { "linux/386", { "linux/386" }, { "linux/amd64" } },
                { "linux/riscv64", { "linux/riscv64" }, { "linux/riscv64/rva22" } },
                { "linux/ppc64le/power9",
                  { "linux/ppc64le/power9", "linux/ppc64le" },
                  { "linux/ppc64le/power8" } },
        };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                _cleanup_(oci_platform_done) OciPlatform wanted = platform(cases[i].wanted);
                int last = -1;
                for (size_t j = 0; cases[i].served[j]; j++) {
                        _cleanup_(oci_platform_done) OciPlatform offered = platform(cases[i].served[j]);
                        int rank = oci_platform_rank(&wanted, &offered);
                        CHECK_FORMAT(rank > last, "%s for %s: %i after %i", cases[i].served[j],
                                     cases[i].wanted, rank, last);
                        CHECK((rank == 0) == (j == 0));
                        last = rank;
                }
                for (size_t j = 0; cases[i].refused[j]; j++) {
                        _cleanup_(oci_platform_done) OciPlatform offered = platform(cases[i].refused[j]);
                        CHECK_FORMAT(oci_platform_rank(&wanted, &offered) < 0, "%s for %s",
                                     cases[i].refused[j], cases[i].wanted);
                }
        }
}

static int parse_json(const char *text, OciPlatform *ret, Fault *fault) {
        _cleanup_json_ json_object *document = NULL;
        int r = json_parse(text, strlen(text), "platform", &document, fault);
        if (r < 0)
                return r;
        JsonNode root = json_root(document, "platform");
        return oci_platform_parse_json(&root, ret, fault);
}

static void reads_json(void) {
        _cleanup_(oci_platform_done) OciPlatform p = { 0 };
        CHECK_NO_FAULT(parse_json("{\"os\":\"linux\",\"architecture\":\"arm64\",\"variant\":\"v8\","
                                  "\"os.version\":\"10.0.1\",\"os.features\":[\"x\"]}",
                                  &p, &fault));
        CHECK_STRING(p.architecture, "arm64");
        CHECK(!p.variant);
        CHECK_STRING(p.os_version, "10.0.1");

        static const char *const bad[][2] = {
                { "{\"architecture\":\"amd64\"}", "platform.os: is missing" },
                { "{\"os\":\"linux\"}", "platform.architecture: is missing" },
                { "{\"os\":\"\",\"architecture\":\"amd64\"}", "platform.os: is not part" },
                { "{\"os\":\"linux\",\"architecture\":5}", "platform.architecture: must be a string" },
                { "{\"os\":\"linux\",\"architecture\":\"a/b\"}", "platform.architecture: is not part" },
                { "{\"os\":\"linux\",\"architecture\":\"arm\",\"variant\":\"v\\n7\"}", "platform.variant" },
        };
        for (size_t i = 0; i < ELEMENTS_OF(bad); i++) {
                OciPlatform none = { 0 };
                CHECK_FAULT(parse_json(bad[i][0], &none, &fault), -EBADMSG, bad[i][1]);
                CHECK(!none.os);
        }
}

static void attestations_are_unknown(void) {
        _cleanup_(oci_platform_done) OciPlatform unknown = platform("unknown/unknown"),
                                                 p = platform("amd64");
        CHECK(oci_platform_is_unknown(&unknown) && !oci_platform_is_unknown(&p));
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(normal_forms),
                CHECK_CASE(refuses_other_strings),
                CHECK_CASE(this_machine),
                CHECK_CASE(who_serves_whom),
                CHECK_CASE(reads_json),
                CHECK_CASE(attestations_are_unknown),
                {},
        });
}
