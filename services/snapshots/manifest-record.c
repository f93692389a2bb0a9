/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/manifest-record.h"

#include <errno.h>
#include <fcntl.h>
#include <isa-l/crc.h>
#include <isa-l/crc64.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/limits.h"
#include "services/snapshots/contents-checksum.h"
#include "services/snapshots/tree-stage.h"
#include "services/snapshots/tree-through.h"

/* What is not of the layer itself. */
const char *const manifest_skips[] = {
        "work",         "notes",        TREE_THROUGH_BEGUN, TREE_THROUGH_MADE,
        TREE_STAGE_OLD, TREE_STAGE_NEW, MANIFEST_NAME,      NULL,
};

const char *manifest_record_name(const ManifestRecord *record) {
        return (const char *) (record + 1);
}

void manifest_record_leave(ManifestRecord *ret) {
        *ret = (ManifestRecord){ .size = sizeof(*ret) };
}

/* Of an open file, or of a name in the working directory: what has attributes need not be one that can be
 * opened. */
static ssize_t list_attributes(int fd, const char *name, char *names, size_t size) {
        return fd >= 0 ? flistxattr(fd, names, size) : llistxattr(name, names, size);
}

static ssize_t get_attribute(int fd, const char *name, const char *attribute, void *value, size_t size) {
        return fd >= 0 ? fgetxattr(fd, attribute, value, size) : lgetxattr(name, attribute, value, size);
}

/* The order in which a file system tells them is its own. */
static int checksum_attributes(int fd, const char *name, uint32_t *ret) {
        static char names[64 * 1024], value[LIMIT_XATTR_SIZE];
        uint32_t sum = 0;
        ssize_t size = list_attributes(fd, name, names, sizeof(names));
        if (size < 0)
                return errno == EOPNOTSUPP ? 0 : -errno;
        for (const char *p = names; p < names + size; p += strlen(p) + 1) {
                ssize_t length = get_attribute(fd, name, p, value, sizeof(value));
                if (length < 0)
                        return -errno;
                uint32_t one = crc32_gzip_refl(0, (const unsigned char *) p, strlen(p) + 1);
                sum += crc32_gzip_refl(one, (unsigned char *) value, (uint64_t) length);
        }
        *ret = sum;
        return 0;
}

static int checksum_opened(ManifestReader *reader, int fd, const char *name, const struct stat *st,
                           ManifestRecord *record) {
        ContentsChecksum contents;
        if (!reader->data && !(reader->data = malloc(CONTENTS_BUFFER_SIZE)))
                return -ENOMEM;
        int r = checksum_attributes(fd, name, &record->attributes);
        if (r >= 0)
                r = contents_checksum_read(fd, st, reader->data, &contents);
        if (r < 0)
                return r;
        record->contents = contents.checksum;
        record->length = contents.length;
        reader->bytes += contents.bytes;
        return 0;
}

/* What was read for another name of the file is not read again: names cost a layer nothing. */
static int checksum_file(ManifestReader *reader, int directory, const char *name, const struct stat *st,
                         ManifestRecord *record) {
        InodeEntry *known = NULL;
        int r = st->st_nlink > 1 ? inode_table_get(&reader->links, st->st_dev, st->st_ino, &known) : 0;
        if (r < 0)
                return r;
        if (known && known->mark) {
                record->attributes = known->attributes;
                record->contents = known->contents;
                record->length = known->length;
                return 0;
        }
        _cleanup_close_ int fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        r = checksum_opened(reader, fd, name, st, record);
        if (r < 0 || !known)
                return r;
        known->mark = 1;
        known->attributes = record->attributes;
        known->contents = record->contents;
        known->length = record->length;
        return 0;
}

static int checksum_other(int directory, const char *name, ManifestRecord *record) {
        if (fchdir(directory) < 0)
                return -errno;
        return checksum_attributes(-EBADF, name, &record->attributes);
}

static int checksum_link(int directory, const char *name, ManifestRecord *record) {
        unsigned char target[PATH_MAX];
        ssize_t size = readlinkat(directory, name, (char *) target, sizeof(target));
        if (size < 0)
                return -errno;
        record->length = (uint64_t) size;
        record->contents = crc64_ecma_refl(0, target, (uint64_t) size);
        return 0;
}

int manifest_record_read(ManifestReader *reader, int directory, const char *name, const struct stat *st,
                         ManifestRecord *ret) {
        size_t length = strlen(name) + 1;
        *ret = (ManifestRecord){
                .size = (uint32_t) (sizeof(*ret) + length),
                .mode = st->st_mode,
                .uid = st->st_uid,
                .gid = st->st_gid,
                .mtime = st->st_mtim.tv_sec,
                .nanoseconds = (uint32_t) st->st_mtim.tv_nsec,
                .device = S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode) ? st->st_rdev : 0,
        };
        memcpy(ret + 1, name, length);
        int r = S_ISREG(st->st_mode) ? checksum_file(reader, directory, name, st, ret)
                                     : checksum_other(directory, name, ret);
        if (r >= 0 && S_ISLNK(st->st_mode))
                r = checksum_link(directory, name, ret);
        return r;
}

void manifest_reader_done(ManifestReader *reader) {
        reader->data = mfree(reader->data);
        inode_table_done(&reader->links);
}
