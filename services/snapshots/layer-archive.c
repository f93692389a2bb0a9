/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/layer-archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "lib/limits.h"

#define XATTRS_MAX 1024

struct LayerArchive {
        struct archive *reader;
        ChunkRing *ring; /* weak */
        unsigned consumer;
        bool aborted;
        uint64_t entries; /* seen so far, to name the place of damage */
        LayerXattr *xattrs;
        size_t xattrs_allocated;
};

static la_ssize_t on_read(struct archive *reader, void *userdata, const void **ret_data) {
        LayerArchive *archive = userdata;
        const uint8_t *data;
        size_t size;
        if (!chunk_ring_next(archive->ring, archive->consumer, &data, &size)) {
                archive->aborted = true;
                archive_set_error(reader, ECANCELED, "aborted");
                return ARCHIVE_FATAL;
        }
        *ret_data = data;
        return (la_ssize_t) size;
}

static int archive_fault(LayerArchive *archive, Fault *fault) {
        if (archive->aborted)
                return -ECANCELED;
        if (archive_errno(archive->reader) == ENOMEM)
                return fault_set_errno(fault, -ENOMEM, "Can't read the layer's archive");
        const char *text = archive_error_string(archive->reader);
        return fault_set(fault, -EBADMSG, "The layer's archive is damaged after entry %llu: %s",
                         (unsigned long long) archive->entries, text ? text : "unknown reason");
}

int layer_archive_new(ChunkRing *ring, unsigned consumer, LayerArchive **ret, Fault *fault) {
        _cleanup_(layer_archive_freep) LayerArchive *archive = new0(LayerArchive, 1);
        if (!archive)
                return -ENOMEM;
        archive->ring = ring;
        archive->consumer = consumer;
        archive->reader = archive_read_new();
        if (!archive->reader)
                return fault_set_errno(fault, -ENOMEM, "Can't read the layer's archive");

        /* A stream without a single byte is an empty archive. No filter: the bytes are decompressed already.
         */
        if (archive_read_support_format_tar(archive->reader) != ARCHIVE_OK ||
            archive_read_support_format_empty(archive->reader) != ARCHIVE_OK ||
            archive_read_open(archive->reader, archive, NULL, on_read, NULL) != ARCHIVE_OK)
                return archive_fault(archive, fault);
        *ret = TAKE_PTR(archive);
        return 0;
}

LayerArchive *layer_archive_free(LayerArchive *archive) {
        if (!archive)
                return NULL;
        if (archive->reader)
                (void) archive_read_free(archive->reader);
        free(archive->xattrs);
        return mfree(archive);
}

static int collect_xattrs(LayerArchive *archive, struct archive_entry *from, LayerEntry *entry,
                          Fault *fault) {
        int count = archive_entry_xattr_reset(from);
        if (count <= 0)
                return 0;
        if (count > XATTRS_MAX)
                return fault_set(fault, -EBADMSG, "%s: has %i extended attributes, at most %i are allowed",
                                 entry->path, count, XATTRS_MAX);
        if ((size_t) count > archive->xattrs_allocated) {
                LayerXattr *larger = realloc(archive->xattrs, (size_t) count * sizeof(*larger));
                if (!larger)
                        return -ENOMEM;
                archive->xattrs = larger;
                archive->xattrs_allocated = (size_t) count;
        }
        size_t n = 0;
        while (n < (size_t) count) {
                LayerXattr *x = &archive->xattrs[n];
                if (archive_entry_xattr_next(from, &x->name, &x->value, &x->size) != ARCHIVE_OK)
                        break;
                if (x->size > LIMIT_XATTR_SIZE)
                        return fault_set(fault, -EBADMSG, "%s: extended attribute is larger than %u bytes",
                                         entry->path, LIMIT_XATTR_SIZE);
                if (x->name)
                        n++;
        }
        entry->xattrs = archive->xattrs;
        entry->xattr_count = n;
        return 0;
}

static struct timespec entry_time(time_t seconds, long nanoseconds) {
        return (struct timespec){ .tv_sec = seconds,
                                  .tv_nsec =
                                          nanoseconds >= 0 && nanoseconds < 1000000000L ? nanoseconds : 0 };
}

static int entry_fill(LayerArchive *archive, struct archive_entry *from, LayerEntry *entry, Fault *fault) {
        la_int64_t size = archive_entry_size(from), uid = archive_entry_uid(from),
                   gid = archive_entry_gid(from);
        *entry = (LayerEntry){
                .path = archive_entry_pathname(from),
                .hard_link = archive_entry_hardlink(from),
                .mode = archive_entry_mode(from),
                .uid = (uid_t) uid,
                .gid = (gid_t) gid,
                .device = makedev(archive_entry_rdevmajor(from), archive_entry_rdevminor(from)),
                .size = size > 0 ? (uint64_t) size : 0,
        };
        if (!entry->path)
                return fault_set(fault, -EBADMSG,
                                 "The layer's archive has an entry without a name after entry %llu",
                                 (unsigned long long) archive->entries);
        if (uid < 0 || uid >= UINT32_MAX || gid < 0 || gid >= UINT32_MAX)
                return fault_set(fault, -EBADMSG, "%s: owner %lli:%lli is out of range", entry->path,
                                 (long long) uid, (long long) gid);
        if (size < 0)
                return fault_set(fault, -EBADMSG, "%s: has a negative size", entry->path);
        if (entry->hard_link)
                entry->mode = 0;
        if (S_ISLNK(entry->mode))
                entry->symlink = archive_entry_symlink(from);
        entry->times[1] = entry_time(archive_entry_mtime(from), archive_entry_mtime_nsec(from));
        entry->times[0] = archive_entry_atime_is_set(from)
                                  ? entry_time(archive_entry_atime(from), archive_entry_atime_nsec(from))
                                  : entry->times[1];
        return collect_xattrs(archive, from, entry, fault);
}

int layer_archive_next(LayerArchive *archive, LayerEntry *ret, Fault *fault) {
        struct archive_entry *entry;
        int r = archive_read_next_header(archive->reader, &entry);
        if (r == ARCHIVE_EOF)
                return 0;
        /* Warnings are about what libarchive knows and we don't ask for (names in a foreign character set
         * are taken as they are); ARCHIVE_RETRY is a damaged header. */
        if (r != ARCHIVE_OK && r != ARCHIVE_WARN)
                return archive_fault(archive, fault);
        archive->entries++;
        r = entry_fill(archive, entry, ret, fault);
        return r < 0 ? r : 1;
}

int layer_archive_read(LayerArchive *archive, const void **ret_data, size_t *ret_size, uint64_t *ret_offset,
                       Fault *fault) {
        la_int64_t offset = 0;
        int r = archive_read_data_block(archive->reader, ret_data, ret_size, &offset);
        if (r == ARCHIVE_EOF)
                return 0;
        if (r != ARCHIVE_OK && r != ARCHIVE_WARN)
                return archive_fault(archive, fault);
        if (offset < 0)
                return fault_set(fault, -EBADMSG, "The layer's archive has data at a negative offset");
        *ret_offset = (uint64_t) offset;
        return 1;
}
