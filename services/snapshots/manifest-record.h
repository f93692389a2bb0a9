/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One line of a tree's manifest: a file, or the end of a directory. */

#include <stdint.h>
#include <sys/stat.h>

#include "lib/macros.h"
#include "services/snapshots/inode-table.h"

#define MANIFEST_NAME "manifest"
/* In trees/NUMBER, but not part of the tree. */
extern const char *const manifest_skips[];

/* As it is in the file, with the name and its NUL behind. */
typedef struct ManifestRecord {
        uint32_t size; /* of all of it */
        uint32_t mode; /* 0: the end of a directory */
        uint32_t uid, gid;
        int64_t mtime;
        uint32_t nanoseconds;
        uint32_t attributes; /* checksum of the extended ones */
        uint64_t device;
        uint64_t length;   /* of a file, or of a link's target */
        uint64_t contents; /* likewise: checksum */
} ManifestRecord;

#define MANIFEST_RECORD_MAX (sizeof(ManifestRecord) + 256)

typedef struct ManifestReader {
        char *data; /* contents of files on the way */
        InodeTable links;
        uint64_t bytes; /* that were read of them, in all */
} ManifestReader;

/* What is in directory under that name; ret has room for MANIFEST_RECORD_MAX. */
int manifest_record_read(ManifestReader *reader, int directory, const char *name, const struct stat *st,
                         ManifestRecord *ret);
void manifest_record_leave(ManifestRecord *ret);
const char *manifest_record_name(const ManifestRecord *record);
void manifest_reader_done(ManifestReader *reader);
