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

#define DATA_SIZE ((size_t) 256 * 1024)

const char *const manifest_skips[] = { "work", "notes", MANIFEST_NAME, NULL };

const char *manifest_record_name(const ManifestRecord *record) {
        return (const char *) (record + 1);
}

void manifest_record_leave(ManifestRecord *ret) {
        *ret = (ManifestRecord){ .size = sizeof(*ret) };
}

/* Directory and name become the way to it: what has attributes need not be one that can be opened. The order
 * in which a file system tells them is its own. */
static int checksum_attributes(int directory, const char *name, uint32_t *ret) {
        static char names[64 * 1024], value[LIMIT_XATTR_SIZE];
        uint32_t sum = 0;
        if (fchdir(directory) < 0)
                return -errno;
        ssize_t size = llistxattr(name, names, sizeof(names));
        if (size < 0)
                return errno == EOPNOTSUPP ? 0 : -errno;
        for (const char *p = names; p < names + size; p += strlen(p) + 1) {
                ssize_t length = lgetxattr(name, p, value, sizeof(value));
                if (length < 0)
                        return -errno;
                uint32_t one = crc32_gzip_refl(0, (const unsigned char *) p, strlen(p) + 1);
                sum += crc32_gzip_refl(one, (unsigned char *) value, (uint64_t) length);
        }
        *ret = sum;
        return 0;
}

static int checksum_file(ManifestReader *reader, int directory, const char *name, ManifestRecord *record) {
        if (!reader->data && !(reader->data = malloc(DATA_SIZE)))
                return -ENOMEM;
        _cleanup_close_ int fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        record->length = 0;
        for (;;) {
                ssize_t n = fd_read_full(fd, reader->data, DATA_SIZE);
                if (n <= 0)
                        return (int) n;
                record->contents =
                        crc64_ecma_refl(record->contents, (unsigned char *) reader->data, (uint64_t) n);
                record->length += (uint64_t) n;
        }
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
                         ManifestRecord *ret, uint64_t *ret_bytes) {
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
        int r = checksum_attributes(directory, name, &ret->attributes);
        if (r >= 0 && S_ISREG(st->st_mode))
                r = checksum_file(reader, directory, name, ret);
        if (r >= 0 && S_ISLNK(st->st_mode))
                r = checksum_link(directory, name, ret);
        *ret_bytes = ret->length;
        return r;
}

void manifest_reader_done(ManifestReader *reader) {
        reader->data = mfree(reader->data);
}
