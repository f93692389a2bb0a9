/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Archives for the tests of unpacking, made block by block so that they can be wrong in any way. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Tar {
        char *data;
        size_t size;
} Tar;

typedef struct TarEntry {
        const char *name;
        char type; /* '0' file, '1' hard link, '2' symbolic link, '3' 'b' devices, '5' directory, '6' fifo,
                      'x' pax … */
        const char *link;
        const char *contents;
        size_t size; /* of contents; 0: strlen() */
        unsigned mode, uid, gid, major, minor;
        long long mtime;
} TarEntry;

static inline void tar_append(Tar *tar, const void *data, size_t size) {
        tar->data = realloc(tar->data, tar->size + size);
        if (!tar->data)
                abort();
        memcpy(tar->data + tar->size, data, size);
        tar->size += size;
}

static inline void tar_pad(Tar *tar) {
        static const char zeros[512];
        tar_append(tar, zeros, (512 - tar->size % 512) % 512);
}

/* POSIX.1-1988 ustar header. */
static inline void tar_add(Tar *tar, const TarEntry *entry) {
        char block[512] = { 0 };
        size_t size = entry->size ? entry->size : entry->contents ? strlen(entry->contents) : 0;
        snprintf(block, 101, "%s", entry->name);
        snprintf(block + 100, 8, "%07o",
                 (entry->mode          ? entry->mode
                  : entry->type == '5' ? 0755
                                       : 0644) &
                         07777777U);
        snprintf(block + 108, 8, "%07o", (entry->uid) & 07777777U);
        snprintf(block + 116, 8, "%07o", (entry->gid) & 07777777U);
        snprintf(block + 124, 12, "%011zo", size);
        snprintf(block + 136, 12, "%011llo", entry->mtime);
        memset(block + 148, ' ', 8);
        block[156] = entry->type == 'b' ? '4' : entry->type;
        snprintf(block + 157, 101, "%s", entry->link ? entry->link : "");
        memcpy(block + 257, "ustar\00000", 8);
        snprintf(block + 329, 8, "%07o", (entry->major) & 07777777U);
        snprintf(block + 337, 8, "%07o", (entry->minor) & 07777777U);
        unsigned sum = 0;
        for (size_t i = 0; i < sizeof(block); i++)
                sum += (unsigned char) block[i];
        snprintf(block + 148, 8, "%06o", sum);
        tar_append(tar, block, sizeof(block));
        if (size > 0) {
                tar_append(tar, entry->contents, size);
                tar_pad(tar);
        }
}

/* A pax record "LENGTH key=value\n" for the next entry; the value may have any bytes. */
static inline void tar_add_pax(Tar *tar, const char *key, const void *value, size_t size) {
        size_t body = strlen(key) + size + 3, length = body + 1, digits;
        char number[16];
        do {
                digits = (size_t) snprintf(number, sizeof(number), "%zu", length);
                length = body + digits;
        } while (snprintf(NULL, 0, "%zu", length) != (int) digits);
        char *record = malloc(length + 1);
        if (!record)
                abort();
        int n = snprintf(record, length + 1, "%zu %s=", length, key);
        memcpy(record + n, value, size);
        record[length - 1] = '\n';
        tar_add(tar, &(TarEntry){ .name = "pax", .type = 'x', .contents = record, .size = length });
        free(record);
}

static inline void tar_end(Tar *tar) {
        static const char zeros[1024];
        tar_append(tar, zeros, sizeof(zeros));
}

static inline void tar_done(Tar *tar) {
        free(tar->data);
        *tar = (Tar){ 0 };
}
