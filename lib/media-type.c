/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/media-type.h"

#include <errno.h>
#include <string.h>

#include "lib/strv.h"

#define OCI_LAYER "application/vnd.oci.image.layer.v1.tar"
#define OCI_RESTRICTED_LAYER "application/vnd.oci.image.layer.nondistributable.v1.tar"
#define DOCKER_LAYER "application/vnd.docker.image.rootfs.diff.tar"
#define DOCKER_FOREIGN_LAYER "application/vnd.docker.image.rootfs.foreign.diff.tar"
#define DOCKER_SCHEMA1 "application/vnd.docker.distribution.manifest.v1+"

static const MediaType media_types[] = {
        { MEDIA_TYPE_OCI_INDEX, MEDIA_INDEX, COMPRESSION_NONE, false, false },
        { MEDIA_TYPE_DOCKER_INDEX, MEDIA_INDEX, COMPRESSION_NONE, true, false },
        { MEDIA_TYPE_OCI_MANIFEST, MEDIA_MANIFEST, COMPRESSION_NONE, false, false },
        { MEDIA_TYPE_DOCKER_MANIFEST, MEDIA_MANIFEST, COMPRESSION_NONE, true, false },
        { MEDIA_TYPE_OCI_CONFIG, MEDIA_CONFIG, COMPRESSION_NONE, false, false },
        { MEDIA_TYPE_DOCKER_CONFIG, MEDIA_CONFIG, COMPRESSION_NONE, true, false },
        { OCI_LAYER, MEDIA_LAYER, COMPRESSION_NONE, false, false },
        { OCI_LAYER "+gzip", MEDIA_LAYER, COMPRESSION_GZIP, false, false },
        { OCI_LAYER "+zstd", MEDIA_LAYER, COMPRESSION_ZSTD, false, false },
        { OCI_RESTRICTED_LAYER, MEDIA_LAYER, COMPRESSION_NONE, false, true },
        { OCI_RESTRICTED_LAYER "+gzip", MEDIA_LAYER, COMPRESSION_GZIP, false, true },
        { OCI_RESTRICTED_LAYER "+zstd", MEDIA_LAYER, COMPRESSION_ZSTD, false, true },
        { DOCKER_LAYER, MEDIA_LAYER, COMPRESSION_NONE, true, false },
        { DOCKER_LAYER ".gzip", MEDIA_LAYER, COMPRESSION_GZIP, true, false },
        { DOCKER_LAYER ".zstd", MEDIA_LAYER, COMPRESSION_ZSTD, true, false },
        { DOCKER_FOREIGN_LAYER, MEDIA_LAYER, COMPRESSION_NONE, true, true },
        { DOCKER_FOREIGN_LAYER ".gzip", MEDIA_LAYER, COMPRESSION_GZIP, true, true },
        { DOCKER_FOREIGN_LAYER ".zstd", MEDIA_LAYER, COMPRESSION_ZSTD, true, true },
        { DOCKER_SCHEMA1 "json", MEDIA_SCHEMA1, COMPRESSION_NONE, true, false },
        { DOCKER_SCHEMA1 "prettyjws", MEDIA_SCHEMA1, COMPRESSION_NONE, true, false },
};

static const char *const kind_names[] = {
        [MEDIA_INDEX] = "index", [MEDIA_MANIFEST] = "manifest", [MEDIA_CONFIG] = "config",
        [MEDIA_LAYER] = "layer", [MEDIA_SCHEMA1] = "schema1",
};

static const char *const compression_names[] = {
        [COMPRESSION_NONE] = "none",
        [COMPRESSION_GZIP] = "gzip",
        [COMPRESSION_ZSTD] = "zstd",
};

const MediaType *media_type_find(const char *name) {
        for (size_t i = 0; i < ELEMENTS_OF(media_types); i++)
                if (string_equal(media_types[i].name, name))
                        return &media_types[i];
        return NULL;
}

/* restricted-name: an alphanumeric, then up to 126 alphanumerics and "!#$&-^_.+". Its length, or 0. */
static size_t restricted_name(const char *name) {
        size_t i;
        for (i = 0; name[i]; i++) {
                bool alphanumeric = (name[i] >= 'a' && name[i] <= 'z') ||
                                    (name[i] >= 'A' && name[i] <= 'Z') || (name[i] >= '0' && name[i] <= '9');
                if (!alphanumeric && (i == 0 || !strchr("!#$&-^_.+", name[i])))
                        break;
        }
        return i <= 127 ? i : 0;
}

bool media_type_is_valid(const char *name) {
        if (!name)
                return false;
        size_t type = restricted_name(name);
        if (type == 0 || name[type] != '/')
                return false;
        size_t subtype = restricted_name(name + type + 1);
        return subtype > 0 && name[type + 1 + subtype] == '\0';
}

int media_type_from_header(const char *value, char **ret) {
        value += strspn(value, " \t");
        _cleanup_free_ char *type = strndup(value, strcspn(value, "; \t\r\n"));
        if (!type)
                return -ENOMEM;
        for (char *p = type; *p; p++)
                if (*p >= 'A' && *p <= 'Z')
                        *p = (char) (*p - 'A' + 'a');
        if (!media_type_is_valid(type))
                return -EINVAL;
        *ret = TAKE_PTR(type);
        return 0;
}

const char *media_kind_to_string(MediaKind kind) {
        assert(kind >= 0 && kind < _MEDIA_KIND_MAX);
        return kind_names[kind];
}

MediaKind media_kind_from_string(const char *name) {
        return string_table_find(kind_names, ELEMENTS_OF(kind_names), name);
}

const char *compression_to_string(Compression compression) {
        assert(compression >= 0 && compression < _COMPRESSION_MAX);
        return compression_names[compression];
}

Compression compression_from_string(const char *name) {
        return string_table_find(compression_names, ELEMENTS_OF(compression_names), name);
}
