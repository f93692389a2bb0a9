/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One header block of a tar archive: v7, ustar (POSIX.1-1988), star and GNU. Where they leave room for more
 * than one reading, it is that of Go's archive/tar, as containerd, umoci and buildkit have it: a digest must
 * not stand for one tree here and for another there. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/fault.h"

#define LAYER_BLOCK_SIZE ((size_t) 512)

/* Types that are about the entry after them. */
#define LAYER_TYPE_PAX 'x'
#define LAYER_TYPE_PAX_GLOBAL 'g'
#define LAYER_TYPE_LONG_NAME 'L'
#define LAYER_TYPE_LONG_LINK 'K'
#define LAYER_TYPE_SPARSE 'S'

typedef struct LayerHeader {
        char type;
        bool is_gnu;
        char name[155 + 1 + 100 + 1];
        char link[100 + 1];
        mode_t mode; /* permissions, and what else the archive put there */
        int64_t uid;
        int64_t gid;
        int64_t size;
        int64_t mtime;
        int64_t major;
        int64_t minor;
} LayerHeader;

/* Nothing but zeros: two of them end an archive. */
bool layer_header_is_end(const uint8_t block[LAYER_BLOCK_SIZE]);
/* -EBADMSG with a sentence. */
int layer_header_parse(const uint8_t block[LAYER_BLOCK_SIZE], LayerHeader *ret, Fault *fault);

/* A number as headers have them: octal digits, or base-256 with the first bit set. -EBADMSG. */
int layer_number_parse(const uint8_t *field, size_t size, int64_t *ret);
