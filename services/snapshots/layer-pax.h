/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The records of a pax extended header (POSIX.1-2017, pax, "pax Extended Header"), with those that star, GNU
 * tar and libarchive added: what they say about the next entry. */

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "lib/fault.h"
#include "services/snapshots/layer-acl.h"
#include "services/snapshots/layer-sparse.h"
#include "services/snapshots/layer-xattr.h"

/* Of all records of one entry, in bytes. */
#define LAYER_PAX_SIZE_MAX ((size_t) 1024 * 1024)

/* Strings lie in the text. What has no record is NULL, or its flag is false. */
typedef struct LayerPax {
        char *text;
        size_t allocated;

        const char *path;
        const char *link;
        const char *sparse_name;
        const char *sparse_major;
        const char *sparse_minor;
        const char *sparse_map;
        const char *acl_access; /* what is an attribute, too, and in the list of these in the end */
        const char *acl_default;
        const char *label;
        struct timespec mtime;
        struct timespec atime;
        int64_t size;
        int64_t sparse_size;
        int64_t sparse_offset; /* that a length is to follow */
        int64_t uid;
        int64_t gid;
        int64_t major;
        int64_t minor;
        bool has_mtime, has_atime, has_size, has_sparse_size, has_sparse_offset, has_sparse_extents, has_uid,
                has_gid, has_major, has_minor;

        LayerXattr *xattrs;
        size_t xattr_count;
        size_t xattrs_allocated;
        LayerAcl *acls;      /* values: of access, by default */
        LayerSparse extents; /* from records of GNU's format 0.0 */
} LayerPax;

void layer_pax_done(LayerPax *pax);
/* As before the first record. */
void layer_pax_reset(LayerPax *pax);
/* Room for the bytes of a header; NULL: no memory. */
char *layer_pax_reserve(LayerPax *pax, size_t size);
/* Reads what was put there. -EBADMSG with a sentence. */
int layer_pax_parse(LayerPax *pax, size_t size, Fault *fault);
