/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/media-type.h"

#include <errno.h>

#include "tests/unit/check.h"

static void known_types(void) {
        static const struct {
                const char *name;
                MediaKind kind;
                Compression compression;
                bool is_docker, is_restricted;
        } cases[] = {
                { "application/vnd.oci.image.index.v1+json", MEDIA_INDEX, COMPRESSION_NONE, false, false },
                { "application/vnd.docker.distribution.manifest.list.v2+json", MEDIA_INDEX, COMPRESSION_NONE,
                  true, false },
                { "application/vnd.oci.image.manifest.v1+json", MEDIA_MANIFEST, COMPRESSION_NONE, false,
                  false },
                { "application/vnd.docker.distribution.manifest.v2+json", MEDIA_MANIFEST, COMPRESSION_NONE,
                  true, false },
                { "application/vnd.oci.image.config.v1+json", MEDIA_CONFIG, COMPRESSION_NONE, false, false },
                { "application/vnd.docker.container.image.v1+json", MEDIA_CONFIG, COMPRESSION_NONE, true,
                  false },
                { "application/vnd.oci.image.layer.v1.tar", MEDIA_LAYER, COMPRESSION_NONE, false, false },
                { "application/vnd.oci.image.layer.v1.tar+gzip", MEDIA_LAYER, COMPRESSION_GZIP, false,
                  false },
                { "application/vnd.oci.image.layer.v1.tar+zstd", MEDIA_LAYER, COMPRESSION_ZSTD, false,
                  false },
                { "application/vnd.docker.image.rootfs.diff.tar.gzip", MEDIA_LAYER, COMPRESSION_GZIP, true,
                  false },
                { "application/vnd.docker.image.rootfs.diff.tar.zstd", MEDIA_LAYER, COMPRESSION_ZSTD, true,
                  false },
                { "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", MEDIA_LAYER, COMPRESSION_GZIP,
                  true, true },
                { "application/vnd.docker.distribution.manifest.v1+prettyjws", MEDIA_SCHEMA1,
                  COMPRESSION_NONE, true, false },
        };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                const MediaType *type = media_type_find(cases[i].name);
                CHECK_FORMAT(type, "%s is not known", cases[i].name);
                CHECK_STRING(type->name, cases[i].name);
                CHECK(media_type_is_valid(type->name));
                CHECK_INT(type->kind, cases[i].kind);
                CHECK_INT(type->compression, cases[i].compression);
                CHECK_INT(type->is_docker, cases[i].is_docker);
                CHECK_INT(type->is_restricted, cases[i].is_restricted);
        }
        CHECK(!media_type_find("application/json") && !media_type_find("") && !media_type_find(NULL));
        CHECK(!media_type_find("application/vnd.oci.image.layer.v1.tar+xz"));
}

static void grammar(void) {
        char longest[300] = "a/";
        memset(longest + 2, 'b', 127);
        CHECK(media_type_is_valid(longest));
        longest[129] = 'b';
        CHECK(!media_type_is_valid(longest));

        static const char *const good[] = { "a/b", "text/x!#$&-^_.+9" };
        static const char *const bad[] = { "",     "a",       "a/",   "/b",         "a/b/c", "a b/c",
                                           "a/b ", "a/b;c=d", "-a/b", "a/\xc3\xa4", "a/+b" };
        for (size_t i = 0; i < ELEMENTS_OF(good); i++)
                CHECK_FORMAT(media_type_is_valid(good[i]), "'%s' is refused", good[i]);
        for (size_t i = 0; i < ELEMENTS_OF(bad); i++)
                CHECK_FORMAT(!media_type_is_valid(bad[i]), "'%s' is taken", bad[i]);
        CHECK(!media_type_is_valid(NULL));
}

static void headers_lose_their_parameters(void) {
        static const char *const cases[][2] = {
                { "application/json", "application/json" },
                { " Application/JSON; charset=utf-8\r\n", "application/json" },
                { "text/html ; x", "text/html" },
        };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                _cleanup_free_ char *type = NULL;
                CHECK_OK(media_type_from_header(cases[i][0], &type));
                CHECK_STRING(type, cases[i][1]);
        }
        char *none = NULL;
        CHECK_ERROR(media_type_from_header("", &none), -EINVAL);
        CHECK_ERROR(media_type_from_header("; a/b", &none), -EINVAL);
        CHECK(!none);
}

static void names_go_both_ways(void) {
        for (MediaKind kind = 0; kind < _MEDIA_KIND_MAX; kind++)
                CHECK_INT(media_kind_from_string(media_kind_to_string(kind)), kind);
        for (Compression c = 0; c < _COMPRESSION_MAX; c++)
                CHECK_INT(compression_from_string(compression_to_string(c)), c);
        CHECK_STRING(compression_to_string(COMPRESSION_ZSTD), "zstd");
        CHECK(compression_from_string("xz") < 0 && media_kind_from_string(NULL) < 0);
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(known_types),
                CHECK_CASE(grammar),
                CHECK_CASE(headers_lose_their_parameters),
                CHECK_CASE(names_go_both_ways),
                {},
        });
}
