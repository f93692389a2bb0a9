/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Files with more than one name, by device and inode number: which were met already, and under which name.
 */

#include <stdint.h>
#include <sys/types.h>

#include "lib/macros.h"

typedef struct InodeEntry {
        struct InodeEntry *next; /* with the same hash */
        dev_t device;
        ino_t inode;
        int mark;           /* the user's own; 0 at first */
        dev_t other_device; /* likewise: of the same file elsewhere */
        ino_t other_inode;
        char **paths;              /* likewise: a strv, freed with the table */
        uint64_t length, contents; /* likewise: what a manifest says of it */
        uint32_t attributes;
} InodeEntry;

typedef struct InodeTable {
        InodeEntry **buckets;
        size_t bucket_count;
        size_t count;
} InodeTable;

/* 1 it was there already, 0 it is new. */
int inode_table_get(InodeTable *table, dev_t device, ino_t inode, InodeEntry **ret);
void inode_table_done(InodeTable *table);
