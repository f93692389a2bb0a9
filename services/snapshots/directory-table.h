/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What is still to be done to the directories of a tree that is being unpacked. Owner, mode, attributes and
 * times are set when everything is in place: a setgid bit or a default ACL would be inherited by what is
 * made inside, and each entry made inside changes the times. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "lib/fault.h"
#include "lib/macros.h"
#include "services/snapshots/layer-archive.h"

typedef struct DirectoryRecord DirectoryRecord;
typedef struct DirectoryTable DirectoryTable;

int directory_table_new(DirectoryTable **ret);
DirectoryTable *directory_table_free(DirectoryTable *table);
DEFINE_CLEANUP(DirectoryTable *, directory_table_free);

/* A directory was made that no entry has described (yet): an implied parent. Forgets what was known of that
 * path. */
int directory_table_add(DirectoryTable *table, const char *path, bool opaque, Fault *fault);
/* An entry describes it. */
int directory_table_describe(DirectoryTable *table, const char *path, const LayerEntry *entry, Fault *fault);
int directory_table_set_opaque(DirectoryTable *table, const char *path, Fault *fault);

/* Does all of it below root. What a merge with other layers needs to know is written to the descriptor
 * notes, if there is one: for each directory concerned one letter, its path and a NUL: 'o' opaque, 'i'
 * implied by its contents only, and 'r' if the layer describes the root. */
int directory_table_apply(DirectoryTable *table, int root, int notes, Fault *fault);
