/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/directory-table.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/path.h"
#include "services/snapshots/entry-attributes.h"

/* What a layer of nothing but directories may make the worker hold. */
#define TABLE_BYTES_MAX ((size_t) 512 * 1024 * 1024)
#define SLOTS_FIRST ((size_t) 1024)

struct DirectoryRecord {
        uint64_t hash;
        bool described;
        bool opaque;
        mode_t mode;
        uid_t uid;
        gid_t gid;
        struct timespec times[2];
        XattrList xattrs;
        char path[];
};

struct DirectoryTable {
        uint64_t seed; /* names are chosen by others */
        DirectoryRecord **slots;
        size_t slot_count; /* a power of two */
        size_t count;
        size_t bytes;
};

int directory_table_new(DirectoryTable **ret) {
        _cleanup_(directory_table_freep) DirectoryTable *table = new0(DirectoryTable, 1);
        if (!table || !(table->slots = new0(DirectoryRecord *, SLOTS_FIRST)))
                return -ENOMEM;
        table->slot_count = SLOTS_FIRST;
        if (getrandom(&table->seed, sizeof(table->seed), 0) != sizeof(table->seed))
                return -EIO;
        *ret = TAKE_PTR(table);
        return 0;
}

DirectoryTable *directory_table_free(DirectoryTable *table) {
        if (!table)
                return NULL;
        for (size_t i = 0; i < table->slot_count; i++)
                if (table->slots[i]) {
                        xattr_list_done(&table->slots[i]->xattrs);
                        free(table->slots[i]);
                }
        free(table->slots);
        return mfree(table);
}

/* FNV-1a with a secret start and a final mix. */
static uint64_t path_hash(const DirectoryTable *table, const char *path) {
        uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ table->seed;
        for (const char *p = path; *p; p++)
                hash = (hash ^ (uint8_t) *p) * UINT64_C(0x100000001b3);
        hash ^= hash >> 33;
        hash *= UINT64_C(0xff51afd7ed558ccd) ^ (table->seed | 1);
        return hash ^ (hash >> 29);
}

static DirectoryRecord **table_slot(DirectoryRecord **slots, size_t count, uint64_t hash, const char *path) {
        size_t i = hash & (count - 1);
        while (slots[i] && !(slots[i]->hash == hash && strcmp(slots[i]->path, path) == 0))
                i = (i + 1) & (count - 1);
        return &slots[i];
}

static int table_grow(DirectoryTable *table) {
        size_t count = table->slot_count * 2;
        DirectoryRecord **slots = new0(DirectoryRecord *, count);
        if (!slots)
                return -ENOMEM;
        for (size_t i = 0; i < table->slot_count; i++) {
                DirectoryRecord *record = table->slots[i];
                if (record)
                        *table_slot(slots, count, record->hash, record->path) = record;
        }
        free(table->slots);
        table->slots = slots;
        table->slot_count = count;
        return 0;
}

static int table_account(DirectoryTable *table, size_t bytes, Fault *fault) {
        table->bytes += bytes;
        if (table->bytes <= TABLE_BYTES_MAX)
                return 0;
        return fault_set(fault, -EDQUOT, "The layer has more directories than can be handled");
}

/* The record for a path, made if there is none. */
static int table_get(DirectoryTable *table, const char *path, DirectoryRecord **ret, Fault *fault) {
        uint64_t hash = path_hash(table, path);
        DirectoryRecord **slot = table_slot(table->slots, table->slot_count, hash, path);
        if (*slot) {
                *ret = *slot;
                return 0;
        }

        size_t length = strlen(path);
        int r = table_account(table, sizeof(DirectoryRecord) + length + 1 + 2 * sizeof(void *), fault);
        if (r < 0)
                return r;
        DirectoryRecord *record = calloc(1, sizeof(*record) + length + 1);
        if (!record)
                return fault_set_errno(fault, -ENOMEM, "Can't unpack the layer");
        record->hash = hash;
        record->mode = 0755;
        memcpy(record->path, path, length + 1);
        *slot = *ret = record;
        return ++table->count * 2 > table->slot_count ? table_grow(table) : 0;
}

int directory_table_add(DirectoryTable *table, const char *path, bool opaque, Fault *fault) {
        DirectoryRecord *record;
        int r = table_get(table, path, &record, fault);
        if (r < 0)
                return r;
        xattr_list_done(&record->xattrs);
        record->described = false;
        record->opaque = opaque;
        record->mode = 0755;
        record->uid = 0;
        record->gid = 0;
        return 0;
}

int directory_table_describe(DirectoryTable *table, const char *path, const LayerEntry *entry,
                             Fault *fault) {
        DirectoryRecord *record;
        int r = table_get(table, path, &record, fault);
        if (r < 0)
                return r;
        record->described = true;
        record->mode = entry->mode & 07777;
        record->uid = entry->uid;
        record->gid = entry->gid;
        memcpy(record->times, entry->times, sizeof(record->times));
        xattr_list_done(&record->xattrs);
        r = xattr_list_copy(entry->xattrs, entry->xattr_count, &record->xattrs);
        if (r < 0)
                return fault_set_errno(fault, r, "Can't unpack the layer");
        return table_account(table, record->xattrs.bytes, fault);
}

int directory_table_set_opaque(DirectoryTable *table, const char *path, Fault *fault) {
        DirectoryRecord *record;
        int r = table_get(table, path, &record, fault);
        if (r >= 0)
                record->opaque = true;
        return r;
}

static int record_apply(const DirectoryRecord *record, int root, Fault *fault) {
        if (!record->described && record->path[0] == '\0')
                return 0;
        _cleanup_close_ int fd =
                path_open(root, record->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, PATH_BENEATH);
        if (fd < 0)
                return fault_set_errno(fault, fd, "%s: can't open the directory", record->path);
        if ((record->uid != 0 || record->gid != 0) && fchown(fd, record->uid, record->gid) < 0)
                return fault_set_errno(fault, -errno, "%s: can't set the owner", record->path);
        if (fchmod(fd, record->mode) < 0)
                return fault_set_errno(fault, -errno, "%s: can't set the mode", record->path);
        int r = entry_set_xattrs(fd, record->xattrs.items, record->xattrs.count, record->path, fault);
        if (r < 0)
                return r;
        if (record->described && futimens(fd, record->times) < 0)
                return fault_set_errno(fault, -errno, "%s: can't set the times", record->path);
        return 0;
}

static void record_note(const DirectoryRecord *record, FILE *notes) {
        if (record->path[0] == '\0') {
                if (record->described)
                        (void) fwrite("r", 1, 2, notes);
        }
        if (record->opaque)
                (void) fprintf(notes, "o%s%c", record->path, '\0');
        if (record->path[0] != '\0' && !record->described)
                (void) fprintf(notes, "i%s%c", record->path, '\0');
}

/* Parents before children: a note about a parent must be acted on first. */
static int compare_records(const void *a, const void *b) {
        return strcmp((*(DirectoryRecord *const *) a)->path, (*(DirectoryRecord *const *) b)->path);
}

/* A directory that something else has replaced since. */
static bool record_is_stale(const DirectoryRecord *record, int root) {
        int fd = path_open(root, record->path, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0, PATH_BENEATH);
        bool stale = fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP;
        fd_close(fd);
        return stale;
}

int directory_table_apply(DirectoryTable *table, int root, int notes, Fault *fault) {
        size_t count = 0;
        for (size_t i = 0; i < table->slot_count; i++)
                if (table->slots[i])
                        table->slots[count++] = table->slots[i];
        memset(table->slots + count, 0, (table->slot_count - count) * sizeof(*table->slots));
        qsort(table->slots, count, sizeof(*table->slots), compare_records);

        char *text = NULL;
        size_t size = 0;
        FILE *stream = open_memstream(&text, &size);
        if (!stream)
                return -ENOMEM;
        int r = 0;
        for (size_t i = count; i-- > 0 && r >= 0;)
                if (!record_is_stale(table->slots[i], root))
                        r = record_apply(table->slots[i], root, fault);
        for (size_t i = 0; i < count && r >= 0; i++)
                if (!record_is_stale(table->slots[i], root))
                        record_note(table->slots[i], stream);
        if (fclose(stream) != 0 && r >= 0)
                r = -ENOMEM;
        if (r >= 0 && notes >= 0) {
                r = fd_write_all(notes, text, size);
                if (r < 0)
                        r = fault_set_errno(fault, r, "Can't write down what the layer's directories are");
        }
        free(text);
        return r;
}
