/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The tar archive of a layer as a sequence of entries: v7, ustar, star, pax and GNU with their long names
 * and sparse files, from a stream that comes in stretches. Contents are not copied. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "lib/fault.h"
#include "lib/macros.h"
#include "services/snapshots/layer-xattr.h"

/* Where the bytes come from. */
typedef struct LayerSource {
        /* The next stretch, valid until the next call: 1, or 0 at the end (again and again). */
        int (*next)(void *userdata, const uint8_t **ret_data, size_t *ret_size, Fault *fault);
        void *userdata;
} LayerSource;

/* Valid until the next entry. */
typedef struct LayerEntry {
        const char *path;      /* as the archive has it */
        const char *hard_link; /* path of an earlier entry that this is another name of; or NULL */
        const char *symlink;   /* target; or NULL */
        mode_t mode;           /* type (0 for a hard link) and permissions */
        uid_t uid;
        gid_t gid;
        dev_t device;
        uint64_t size;            /* of the file, with its holes */
        struct timespec times[2]; /* of access and of modification, as for futimens() */
        LayerXattr *xattrs;
        size_t xattr_count;
} LayerEntry;

typedef struct LayerArchive LayerArchive;

int layer_archive_new(LayerSource source, LayerArchive **ret);
LayerArchive *layer_archive_free(LayerArchive *archive);
DEFINE_CLEANUP(LayerArchive *, layer_archive_free);

/* 1 an entry, 0 end of the archive; -EBADMSG with a sentence for a damaged one, or what the source says. */
int layer_archive_next(LayerArchive *archive, LayerEntry *ret, Fault *fault);
/* The next stretch of the current entry's contents: 1 and where it belongs, 0 no more. What lies between is
 * a hole. */
int layer_archive_read(LayerArchive *archive, const void **ret_data, size_t *ret_size, uint64_t *ret_offset,
                       Fault *fault);
