/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/tar-writer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#define BLOCK ((size_t) 512)
#define NAME_SIZE ((size_t) 100)
/* Largest numbers of the octal fields. */
#define OCTAL_7 UINT64_C(07777777)
#define OCTAL_11 UINT64_C(077777777777)

/* POSIX.1-2017, pax, "ustar Interchange Format". */
typedef struct UstarHeader {
        char name[100];
        char mode[8];
        char uid[8];
        char gid[8];
        char size[12];
        char mtime[12];
        char checksum[8];
        char type;
        char link[100];
        char magic[6];
        char version[2];
        char user[32];
        char group[32];
        char device_major[8];
        char device_minor[8];
        char prefix[155];
        char unused[12];
} UstarHeader;
static_assert(sizeof(UstarHeader) == BLOCK, "a header is a block");

/* ---- extended records ---- */

typedef struct Records {
        char *data;
        size_t size, allocated;
} Records;

static void records_done(Records *records) {
        free(records->data);
}

static int records_reserve(Records *records, size_t more) {
        if (records->allocated - records->size >= more)
                return 0;
        size_t wanted = MAX_OF(records->size + more, records->allocated * 2);
        char *larger = realloc(records->data, wanted);
        if (!larger)
                return -ENOMEM;
        records->data = larger;
        records->allocated = wanted;
        return 0;
}

/* "LENGTH KEY=VALUE\n", where the length counts itself. */
static int records_add(Records *records, const char *prefix, const char *key, const void *value,
                       size_t size) {
        char number[24];
        size_t rest = 1 + strlen(prefix) + strlen(key) + 1 + size + 1, digits = 1;
        while (snprintf(number, sizeof(number), "%zu", rest + digits) != (int) digits)
                digits++;
        int r = records_reserve(records, rest + digits);
        if (r < 0)
                return r;
        char *p = records->data + records->size;
        p = stpcpy(stpcpy(stpcpy(stpcpy(p, number), " "), prefix), key);
        *p++ = '=';
        memcpy(p, value, size);
        p[size] = '\n';
        records->size += rest + digits;
        return 0;
}

static int records_add_text(Records *records, const char *key, const char *value) {
        return records_add(records, "", key, value, strlen(value));
}

static int records_add_number(Records *records, const char *key, uint64_t value) {
        char text[24];
        (void) snprintf(text, sizeof(text), "%" PRIu64, value);
        return records_add_text(records, key, text);
}

/* Seconds, with as many digits behind the point as are needed. */
static int records_add_time(Records *records, const struct timespec *time) {
        char text[40];
        int64_t seconds = time->tv_sec;
        long nanoseconds = time->tv_nsec;
        bool negative = seconds < 0;
        if (negative && nanoseconds > 0) {
                seconds++;
                nanoseconds = 1000000000L - nanoseconds;
        }
        uint64_t whole = negative ? -(uint64_t) seconds : (uint64_t) seconds;
        int length =
                snprintf(text, sizeof(text), "%s%" PRIu64 ".%09li", negative ? "-" : "", whole, nanoseconds);
        while (text[length - 1] == '0')
                text[--length] = '\0';
        if (text[length - 1] == '.')
                text[--length] = '\0';
        return records_add_text(records, "mtime", text);
}

static int records_add_sparse(Records *records, const TarEntry *entry) {
        int r = records_add_number(records, "GNU.sparse.major", 1);
        if (r >= 0)
                r = records_add_number(records, "GNU.sparse.minor", 0);
        if (r >= 0)
                r = records_add_text(records, "GNU.sparse.name", entry->path);
        return r < 0 ? r : records_add_number(records, "GNU.sparse.realsize", entry->size);
}

/* ---- headers ---- */

static int sink_write(TarWriter *writer, const void *data, size_t size) {
        return size > 0 ? writer->sink.write(writer->sink.userdata, data, size) : 0;
}

static int sink_pad(TarWriter *writer, unsigned size) {
        static const char zeros[BLOCK];
        return sink_write(writer, zeros, size);
}

static unsigned padding_of(uint64_t size) {
        return (unsigned) ((BLOCK - size % BLOCK) % BLOCK);
}

/* 0 where the number does not fit: an extended record says it. */
static void set_octal(char *field, size_t size, uint64_t value) {
        char text[24];
        uint64_t most = size == 12 ? OCTAL_11 : OCTAL_7;
        (void) snprintf(text, sizeof(text), "%0*" PRIo64, (int) size - 1, value > most ? 0 : value);
        memcpy(field, text, size);
}

static void set_text(char *field, size_t size, const char *text) {
        memcpy(field, text, strnlen(text, size));
}

static int write_header(TarWriter *writer, UstarHeader *header) {
        unsigned sum = 0;
        memcpy(header->magic, "ustar", sizeof(header->magic));
        memcpy(header->version, "00", sizeof(header->version));
        memset(header->checksum, ' ', sizeof(header->checksum));
        for (size_t i = 0; i < BLOCK; i++)
                sum += ((const unsigned char *) header)[i];
        (void) snprintf(header->checksum, sizeof(header->checksum), "%06o", sum);
        return sink_write(writer, header, BLOCK);
}

/* What comes before the header of an entry that has extended records. */
static int write_records(TarWriter *writer, const TarEntry *entry, const Records *records) {
        UstarHeader header = { .type = 'x' };
        char name[NAME_SIZE + 1];
        const char *slash = strrchr(entry->path, '/');
        if (records->size == 0)
                return 0;
        (void) snprintf(name, sizeof(name), "PaxHeaders.0/%.80s", slash ? slash + 1 : entry->path);
        set_text(header.name, sizeof(header.name), name);
        set_octal(header.mode, sizeof(header.mode), 0644);
        set_octal(header.uid, sizeof(header.uid), 0);
        set_octal(header.gid, sizeof(header.gid), 0);
        set_octal(header.size, sizeof(header.size), records->size);
        set_octal(header.mtime, sizeof(header.mtime), 0);
        int r = write_header(writer, &header);
        if (r >= 0)
                r = sink_write(writer, records->data, records->size);
        return r < 0 ? r : sink_pad(writer, padding_of(records->size));
}

static char type_of(const TarEntry *entry) {
        if (entry->hard_link)
                return '1';
        switch (entry->mode & S_IFMT) {
        case S_IFLNK:
                return '2';
        case S_IFCHR:
                return '3';
        case S_IFBLK:
                return '4';
        case S_IFDIR:
                return '5';
        case S_IFIFO:
                return '6';
        default:
                return '0';
        }
}

static int collect_records(const TarEntry *entry, const char *name, uint64_t size, Records *records) {
        const char *link = entry->hard_link ?: entry->symlink;
        int r = entry->extents ? records_add_sparse(records, entry) : 0;
        if (r >= 0 && !entry->extents && strlen(name) > NAME_SIZE)
                r = records_add_text(records, "path", name);
        if (r >= 0 && link && strlen(link) > NAME_SIZE)
                r = records_add_text(records, "linkpath", link);
        if (r >= 0 && size > OCTAL_11)
                r = records_add_number(records, "size", size);
        if (r >= 0 && entry->uid > OCTAL_7)
                r = records_add_number(records, "uid", entry->uid);
        if (r >= 0 && entry->gid > OCTAL_7)
                r = records_add_number(records, "gid", entry->gid);
        if (r >= 0 && (entry->mtime.tv_sec < 0 || (uint64_t) entry->mtime.tv_sec > OCTAL_11 ||
                       entry->mtime.tv_nsec > 0))
                r = records_add_time(records, &entry->mtime);
        for (size_t i = 0; r >= 0 && i < entry->xattr_count; i++)
                r = records_add(records, "SCHILY.xattr.", entry->xattrs[i].name, entry->xattrs[i].value,
                                entry->xattrs[i].size);
        return r;
}

static int write_entry_header(TarWriter *writer, const TarEntry *entry, const char *name, uint64_t size) {
        UstarHeader header = { .type = type_of(entry) };
        const char *link = entry->hard_link ?: entry->symlink, *slash = strrchr(entry->path, '/');
        if (entry->extents)
                (void) snprintf(header.name, sizeof(header.name), "GNUSparseFile.0/%.80s",
                                slash ? slash + 1 : entry->path);
        else
                set_text(header.name, sizeof(header.name), name);
        if (link)
                set_text(header.link, sizeof(header.link), link);
        set_octal(header.mode, sizeof(header.mode), entry->mode & 07777);
        set_octal(header.uid, sizeof(header.uid), entry->uid);
        set_octal(header.gid, sizeof(header.gid), entry->gid);
        set_octal(header.size, sizeof(header.size), size);
        set_octal(header.mtime, sizeof(header.mtime),
                  entry->mtime.tv_sec < 0 ? 0 : (uint64_t) entry->mtime.tv_sec);
        if (S_ISCHR(entry->mode) || S_ISBLK(entry->mode)) {
                set_octal(header.device_major, sizeof(header.device_major), major(entry->device));
                set_octal(header.device_minor, sizeof(header.device_minor), minor(entry->device));
        }
        return write_header(writer, &header);
}

/* ---- sparse files ---- */

/* GNU tar manual, "PAX Format, Version 1.0": the map is the beginning of the data. */
static int format_map(const TarEntry *entry, Records *ret) {
        char line[64];
        int length = snprintf(line, sizeof(line), "%zu\n", entry->extent_count);
        for (size_t i = 0;; i++) {
                int r = records_reserve(ret, (size_t) length);
                if (r < 0)
                        return r;
                memcpy(ret->data + ret->size, line, (size_t) length);
                ret->size += (size_t) length;
                if (i == entry->extent_count)
                        break;
                length = snprintf(line, sizeof(line), "%" PRIu64 "\n%" PRIu64 "\n", entry->extents[i].offset,
                                  entry->extents[i].size);
        }
        unsigned padding = padding_of(ret->size);
        int r = records_reserve(ret, padding);
        if (r < 0)
                return r;
        memset(ret->data + ret->size, 0, padding);
        ret->size += padding;
        return 0;
}

/* ---- entries ---- */

int tar_writer_entry(TarWriter *writer, const TarEntry *entry) {
        _cleanup_(records_done) Records records = { 0 }, map = { 0 };
        _cleanup_free_ char *directory = NULL;
        bool has_data = S_ISREG(entry->mode) && !entry->hard_link;
        const char *name = entry->path;
        assert(writer->left == 0 && writer->padding == 0);

        if (S_ISDIR(entry->mode)) {
                if (asprintf(&directory, "%s/", name) < 0)
                        return -ENOMEM;
                name = directory;
        }
        writer->left = has_data && !entry->extents ? entry->size : 0;
        for (size_t i = 0; has_data && i < entry->extent_count; i++)
                writer->left += entry->extents[i].size;
        int r = entry->extents ? format_map(entry, &map) : 0;
        uint64_t size = writer->left + map.size;
        if (r >= 0)
                r = collect_records(entry, name, size, &records);
        if (r >= 0)
                r = write_records(writer, entry, &records);
        if (r >= 0)
                r = write_entry_header(writer, entry, name, size);
        if (r >= 0)
                r = sink_write(writer, map.data, map.size);
        writer->padding = padding_of(size);
        if (r >= 0 && writer->left == 0)
                r = sink_pad(writer, TAKE(writer->padding, 0));
        return r;
}

int tar_writer_data(TarWriter *writer, const void *data, size_t size) {
        assert(size <= writer->left);
        writer->left -= size;
        int r = sink_write(writer, data, size);
        return r < 0 || writer->left > 0 ? r : sink_pad(writer, TAKE(writer->padding, 0));
}

int tar_writer_fill(TarWriter *writer) {
        static const char zeros[64 * BLOCK];
        while (writer->left > 0) {
                int r = tar_writer_data(writer, zeros, MIN_OF(writer->left, sizeof(zeros)));
                if (r < 0)
                        return r;
        }
        return 0;
}

int tar_writer_end(TarWriter *writer) {
        int r = sink_pad(writer, BLOCK);
        return r < 0 ? r : sink_pad(writer, BLOCK);
}
