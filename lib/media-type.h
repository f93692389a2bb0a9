/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Media types of OCI and Docker images: what each stands for and how it is compressed. */

#include <stdbool.h>

#include "lib/macros.h"

#define MEDIA_TYPE_LENGTH_MAX 255

typedef enum MediaKind {
        MEDIA_INDEX,
        MEDIA_MANIFEST,
        MEDIA_CONFIG,
        MEDIA_LAYER,
        MEDIA_SCHEMA1, /* Docker's first manifest, which crt refuses */
        _MEDIA_KIND_MAX,
        _MEDIA_KIND_INVALID = -22,
} MediaKind;

typedef enum Compression {
        COMPRESSION_NONE,
        COMPRESSION_GZIP,
        COMPRESSION_ZSTD,
        _COMPRESSION_MAX,
        _COMPRESSION_INVALID = -22,
} Compression;

typedef struct MediaType {
        const char *name;
        MediaKind kind;
        Compression compression;
        bool is_docker;
        bool is_restricted; /* a layer that its maker does not let registries hand on */
} MediaType;

#define MEDIA_TYPE_OCI_INDEX "application/vnd.oci.image.index.v1+json"
#define MEDIA_TYPE_OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define MEDIA_TYPE_OCI_CONFIG "application/vnd.oci.image.config.v1+json"
#define MEDIA_TYPE_DOCKER_INDEX "application/vnd.docker.distribution.manifest.list.v2+json"
#define MEDIA_TYPE_DOCKER_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"
#define MEDIA_TYPE_DOCKER_CONFIG "application/vnd.docker.container.image.v1+json"

/* What a registry is told that it may answer with. */
#define MEDIA_TYPES_ACCEPTED                                                                                \
        MEDIA_TYPE_OCI_INDEX ", " MEDIA_TYPE_OCI_MANIFEST ", " MEDIA_TYPE_DOCKER_INDEX                      \
                             ", " MEDIA_TYPE_DOCKER_MANIFEST

/* NULL for one that crt does not know. */
const MediaType *media_type_find(const char *name);

/* The grammar of RFC 6838, section 4.2: type "/" subtype. */
bool media_type_is_valid(const char *name);

/* The type that an HTTP Content-Type header names, without its parameters and in lower case, in a fresh
 * string. -EINVAL if it is none. */
int media_type_from_header(const char *value, char **ret);

const char *media_kind_to_string(MediaKind kind);
MediaKind media_kind_from_string(const char *name);
const char *compression_to_string(Compression compression);
Compression compression_from_string(const char *name);
