/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Writes a tar archive of the pax format (POSIX.1-2001): plain ustar headers wherever these can say it,
 * extended ones only for what they can't. The same entries give the same bytes. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

#include "lib/macros.h"

/* Where the archive's bytes go. */
typedef struct TarSink {
        int (*write)(void *userdata, const void *data, size_t size);
        void *userdata;
} TarSink;

typedef struct TarXattr {
        const char *name;
        const void *value;
        size_t size;
} TarXattr;

/* A part of a sparse file that holds data. */
typedef struct TarExtent {
        uint64_t offset;
        uint64_t size;
} TarExtent;

typedef struct TarEntry {
        const char *path; /* directories without a slash at the end */
        const char *hard_link;
        const char *symlink;
        mode_t mode; /* with the type; ignored but for that where hard_link is set */
        uint32_t uid, gid;
        dev_t device;
        uint64_t size; /* of a regular file */
        struct timespec mtime;
        const TarXattr *xattrs;
        size_t xattr_count;
        const TarExtent *extents; /* NULL: not sparse */
        size_t extent_count;
} TarEntry;

typedef struct TarWriter {
        TarSink sink;
        uint64_t left; /* data that the entry still needs */
        unsigned padding;
} TarWriter;

/* The header. A regular file's data follow: all of them, or those of its extents, in order. */
int tar_writer_entry(TarWriter *writer, const TarEntry *entry);
int tar_writer_data(TarWriter *writer, const void *data, size_t size);
/* Zeros in the place of data that could not be had. */
int tar_writer_fill(TarWriter *writer);
/* The end of the archive. */
int tar_writer_end(TarWriter *writer);
