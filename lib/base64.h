/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Base64 with padding (RFC 4648, section 4), as HTTP and JSON documents carry bytes. */

#include <stddef.h>

#include "lib/macros.h"

/* Into a fresh string. */
int base64_encode(const void *data, size_t size, char **ret);

/* Into a fresh block with a NUL behind it. Strict: -EINVAL for other characters, for blanks, and for padding
 * that is missing, misplaced or hides bits. */
int base64_decode(const char *string, void **ret, size_t *ret_size);
