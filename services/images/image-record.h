/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A name and what it stands for: all that is remembered of an image. */

#include <stdbool.h>
#include <stdint.h>

#include "lib/macros.h"

typedef struct ImageRecord {
        char *namespace;
        char *name;
        char *digest;     /* of an index or a manifest */
        char *media_type; /* of that */
        char *manifest;
        char *config;
        char *chain_id; /* "" if it was not unpacked */
        char *platform;
        uint64_t size;
        uint64_t created; /* microseconds since 1970, both */
        uint64_t pulled;
        bool is_replacement;  /* there was one of that name before; not kept */
        char **blobs;         /* digests, in this order: indexes, manifest, config, layers */
        char **chains;        /* names of its snapshots, the lowest first */
        char *config_records; /* what the config says (document.h), to be kept; or NULL */
        size_t config_size;
        char **labels; /* KEY=value, in the order of the keys */
} ImageRecord;

void image_record_done(ImageRecord *record);

/* RFC 3339 as in an image config; 0 for NULL and for what is none. */
uint64_t image_record_parse_time(const char *text);
