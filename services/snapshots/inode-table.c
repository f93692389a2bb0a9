/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/inode-table.h"

#include <errno.h>

#include "lib/strv.h"

#define BUCKETS_FIRST ((size_t) 256)

static InodeEntry **bucket_of(const InodeTable *table, dev_t device, ino_t inode) {
        uint64_t hash = ((uint64_t) inode ^ ((uint64_t) device << 40)) * UINT64_C(0x9e3779b97f4a7c15);
        return &table->buckets[(hash >> 32) & (table->bucket_count - 1)];
}

static int inode_table_grow(InodeTable *table) {
        InodeTable larger = { .bucket_count =
                                      table->bucket_count > 0 ? table->bucket_count * 2 : BUCKETS_FIRST,
                              .count = table->count };
        larger.buckets = new0(InodeEntry *, larger.bucket_count);
        if (!larger.buckets)
                return -ENOMEM;
        for (size_t i = 0; i < table->bucket_count; i++)
                for (InodeEntry *entry = table->buckets[i], *next; entry; entry = next) {
                        InodeEntry **bucket = bucket_of(&larger, entry->device, entry->inode);
                        next = entry->next;
                        entry->next = *bucket;
                        *bucket = entry;
                }
        free(table->buckets);
        *table = larger;
        return 0;
}

int inode_table_get(InodeTable *table, dev_t device, ino_t inode, InodeEntry **ret) {
        if (table->count >= table->bucket_count) {
                int r = inode_table_grow(table);
                if (r < 0)
                        return r;
        }
        InodeEntry **bucket = bucket_of(table, device, inode);
        for (InodeEntry *entry = *bucket; entry; entry = entry->next)
                if (entry->inode == inode && entry->device == device) {
                        *ret = entry;
                        return 1;
                }
        InodeEntry *entry = new0(InodeEntry, 1);
        if (!entry)
                return -ENOMEM;
        *entry = (InodeEntry){ .next = *bucket, .device = device, .inode = inode };
        *bucket = *ret = entry;
        table->count++;
        return 0;
}

void inode_table_done(InodeTable *table) {
        for (size_t i = 0; i < table->bucket_count; i++)
                for (InodeEntry *entry = table->buckets[i], *next; entry; entry = next) {
                        next = entry->next;
                        strv_free(entry->paths);
                        free(entry);
                }
        free(table->buckets);
        *table = (InodeTable){ 0 };
}
