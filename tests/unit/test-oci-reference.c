/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/oci-reference.h"

#include "lib/limits.h"
#include "tests/unit/check-fault.h"

#define HEX "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define DIGEST "sha256:" HEX

static void full_names(void) {
        static const struct {
                const char *string, *registry, *repository, *tag;
                bool has_digest;
                const char *name;
        } cases[] = {
                { "debian", "docker.io", "library/debian", "latest", false,
                  "docker.io/library/debian:latest" },
                { "debian:12", "docker.io", "library/debian", "12", false, "docker.io/library/debian:12" },
                { "user/x", "docker.io", "user/x", "latest", false, "docker.io/user/x:latest" },
                { "docker.io/debian", "docker.io", "library/debian", "latest", false,
                  "docker.io/library/debian:latest" },
                { "index.docker.io/debian", "docker.io", "library/debian", "latest", false,
                  "docker.io/library/debian:latest" },
                { "docker.io/library/debian", "docker.io", "library/debian", "latest", false,
                  "docker.io/library/debian:latest" },
                { "localhost/a", "localhost", "a", "latest", false, "localhost/a:latest" },
                { "LocalHost:5000/a", "localhost:5000", "a", "latest", false, "localhost:5000/a:latest" },
                { "localhost:5000/a/b:tag", "localhost:5000", "a/b", "tag", false,
                  "localhost:5000/a/b:tag" },
                { "localhost:5000/a/b:tag@" DIGEST, "localhost:5000", "a/b", "tag", true,
                  "localhost:5000/a/b:tag@" DIGEST },
                { "localhost:5000/a/b@" DIGEST, "localhost:5000", "a/b", NULL, true,
                  "localhost:5000/a/b@" DIGEST },
                { "debian@" DIGEST, "docker.io", "library/debian", NULL, true,
                  "docker.io/library/debian@" DIGEST },
                { "[::1]:5000/a:b", "[::1]:5000", "a", "b", false, "[::1]:5000/a:b" },
                { "[2001:DB8::1]/a", "[2001:db8::1]", "a", "latest", false, "[2001:db8::1]/a:latest" },
                { "127.0.0.1:80/a", "127.0.0.1:80", "a", "latest", false, "127.0.0.1:80/a:latest" },
                { "Registry.Example.ORG/a", "registry.example.org", "a", "latest", false,
                  "registry.example.org/a:latest" },
                { "reg.example.org/a-b/c__d/e.f/g---h:V1.2_3-x", "reg.example.org", "a-b/c__d/e.f/g---h",
                  "V1.2_3-x", false, "reg.example.org/a-b/c__d/e.f/g---h:V1.2_3-x" },
                { "localhost:5000", "docker.io", "library/localhost", "5000", false,
                  "docker.io/library/localhost:5000" },
                { "a:_x", "docker.io", "library/a", "_x", false, "docker.io/library/a:_x" },
                { "ab/" HEX, "docker.io", "ab/" HEX, "latest", false, "docker.io/ab/" HEX ":latest" },
        };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                _cleanup_(oci_reference_done) OciReference reference = { 0 };
                CHECK_NO_FAULT(oci_reference_parse(cases[i].string, &reference, &fault));
                CHECK_STRING(reference.registry, cases[i].registry);
                CHECK_STRING(reference.repository, cases[i].repository);
                CHECK_INT(reference.has_digest, cases[i].has_digest);
                CHECK_STRING(reference.name, cases[i].name);
                CHECK(!!reference.tag == !!cases[i].tag);
                if (reference.tag)
                        CHECK_STRING(reference.tag, cases[i].tag);

                /* The full name is its own full name. */
                _cleanup_(oci_reference_done) OciReference again = { 0 };
                CHECK_NO_FAULT(oci_reference_parse(reference.name, &again, &fault));
                CHECK_STRING(again.name, reference.name);
        }
}

static void refusals_say_why(void) {
        static const char *const cases[][2] = {
                { "", "is empty" },
                { "Debian", "the repository's name 'library/Debian' must be in lower case" },
                { "User/x", "must be in lower case" },
                { "localhost/A", "must be in lower case" },
                { "a b", "printable ASCII" },
                { "a\n", "printable ASCII" },
                { "\xc3\xa4", "printable ASCII" },
                { "https://example.org/a", "'://'" },
                { "docker://debian", "'://'" },
                { ":tag", "the repository's name is missing" },
                { "@" DIGEST, "the repository's name is missing" },
                { "a:", "the tag is missing" },
                { "a:b:c", "'b:c' is not a tag" },
                { "a:-x", "is not a tag" },
                { "a@", "'' is not a digest" },
                { "a@sha256:12", "is not a digest" },
                { "a@md5:d41d8cd98f00b204e9800998ecf8427e", "unknown algorithm 'md5'" },
                { "a@" DIGEST "@" DIGEST, "is not a digest" },
                { "a//b", "is not the name of a repository" },
                { "/a", "is not the name of a repository" },
                { "a/", "is not the name of a repository" },
                { "a/../b", "is not the name of a repository" },
                { "x/a..b", "is not the name of a repository" },
                { "x/a___b", "is not the name of a repository" },
                { "x/a_-b", "is not the name of a repository" },
                { "x/-a", "is not the name of a repository" },
                { "x/a-", "is not the name of a repository" },
                { "a%2fb", "is not the name of a repository" },
                { "-x.org/a", "is not the name of a registry's host" },
                { "x-.org/a", "is not the name of a registry's host" },
                { "x..org/a", "is not the name of a registry's host" },
                { ".org/a", "is not the name of a registry's host" },
                { "org./a", "is not the name of a registry's host" },
                { "user@x.org/a", "is not a digest" },
                { "a:b@x.org/a", "is not a digest" },
                { "x.org:/a", "'' is not a port" },
                { "x.org:0/a", "'0' is not a port" },
                { "x.org:65536/a", "'65536' is not a port" },
                { "x.org:80:81/a", "is not a port" },
                { "x.org:8a/a", "'8a' is not a port" },
                { "x.org:080/a", "'080' is not a port" },
                { "[::1/a", "is not an IPv6 address in brackets" },
                { "[::g]/a", "is not an IPv6 address in brackets" },
                { "[::1%25eth0]:1/a", "is not an IPv6 address in brackets" },
                { "[]:5/a", "is not an IPv6 address in brackets" },
                { "::1/a", "is not the name of a registry's host" },
                { HEX, "is an image's identifier" },
                { "x.org/", "the repository's name is missing" },
                { "docker.io/", "the repository's name is missing" },
        };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                OciReference reference = { 0 };
                CHECK_FAULT(oci_reference_parse(cases[i][0], &reference, &fault), -EINVAL, cases[i][1]);
                CHECK(!reference.name && !reference.registry);
        }
}

static void lengths_have_limits(void) {
        char text[LIMIT_REFERENCE_LENGTH + 32];
        OciReference reference = { 0 };

        memset(text, 'a', sizeof(text));
        text[LIMIT_REFERENCE_LENGTH + 1] = '\0';
        CHECK_FAULT(oci_reference_parse(text, &reference, &fault), -EINVAL, "longer than 512 bytes");
        text[256] = '\0';
        CHECK_FAULT(oci_reference_parse(text, &reference, &fault), -EINVAL, "longer than 255 bytes");
        text[200] = '\0';
        CHECK_OK(oci_reference_parse(text, &reference, NULL));
        oci_reference_done(&reference);

        memset(text, 'a', sizeof(text));
        text[1] = ':';
        text[2 + 128] = '\0';
        CHECK_OK(oci_reference_parse(text, &reference, NULL));
        oci_reference_done(&reference);
        text[2 + 128] = 'a';
        text[2 + 129] = '\0';
        CHECK_FAULT(oci_reference_parse(text, &reference, &fault), -EINVAL, "longer than 128 bytes");
}

static void loopback_is_this_machine_only(void) {
        static const struct {
                const char *string;
                bool loopback;
        } cases[] = {
                { "localhost/a", true },
                { "localhost:5000/a", true },
                { "127.0.0.1/a", true },
                { "127.1.2.3:5000/a", true },
                { "[::1]/a", true },
                { "[::1]:5000/a", true },
                { "[0:0:0:0:0:0:0:1]/a", true },
                { "debian", false },
                { "128.0.0.1/a", false },
                { "localhost.example.org/a", false },
                { "127.0.0.1.example.org/a", false },
                { "[::2]/a", false },
                { "127.example.org/a", false },
                { "x.localhost/a", false },
                { "[::ffff:127.0.0.1]/a", false },
        };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                _cleanup_(oci_reference_done) OciReference reference = { 0 };
                CHECK_NO_FAULT(oci_reference_parse(cases[i].string, &reference, &fault));
                CHECK_FORMAT(oci_reference_is_loopback(&reference) == cases[i].loopback, "%s",
                             cases[i].string);
        }
}

static void what_a_request_names(void) {
        _cleanup_(oci_reference_done) OciReference hub = { 0 }, own = { 0 };
        char buffer[DIGEST_STRING_MAX];
        CHECK_OK(oci_reference_parse("debian:12", &hub, NULL));
        CHECK_STRING(oci_reference_api_host(&hub), "registry-1.docker.io");
        CHECK_STRING(oci_reference_object(&hub, buffer), "12");
        CHECK_OK(oci_reference_parse("x.org:5000/a:tag@" DIGEST, &own, NULL));
        CHECK_STRING(oci_reference_api_host(&own), "x.org:5000");
        CHECK_STRING(oci_reference_object(&own, buffer), DIGEST);
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(full_names),
                CHECK_CASE(refusals_say_why),
                CHECK_CASE(lengths_have_limits),
                CHECK_CASE(loopback_is_this_machine_only),
                CHECK_CASE(what_a_request_names),
                {},
        });
}
