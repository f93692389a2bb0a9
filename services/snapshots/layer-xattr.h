/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One extended attribute of a layer's entry, and the ways in which archives write one down. */

#include <stddef.h>

#include "lib/fault.h"

/* Of one entry. */
#define LAYER_XATTRS_MAX 1024

typedef struct LayerXattr {
        const char *name;
        const void *value;
        size_t size;
} LayerXattr;

/* libarchive: the name with %XX, the value in base64 (padding may be missing). Both are decoded in place.
 * -EBADMSG. */
int layer_xattr_decode(char *name, char *value, size_t *size);
