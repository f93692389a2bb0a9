/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the name of an archive's entry means in a layer: a path in the tree, or one of the whiteouts of the
 * OCI image-spec (layer.md, "Whiteouts"). */

#include "lib/fault.h"
#include "lib/limits.h"

#define ENTRY_WHITEOUT_PREFIX ".wh."

typedef enum EntryKind {
        ENTRY_PLAIN,
        ENTRY_ROOT,     /* the tree itself: "./" */
        ENTRY_WHITEOUT, /* path is what is hidden */
        ENTRY_OPAQUE,   /* path is the directory whose lower contents are hidden; empty for the root */
        ENTRY_IGNORED,  /* housekeeping of AUFS (".wh..wh.plnk" and the like), which no layer needs */
} EntryKind;

typedef struct EntryName {
        EntryKind kind;
        char path[LIMIT_PATH_LENGTH + 1]; /* relative, without empty and "." components */
        char *name;                       /* last component, within path; unset for the root */
        size_t parent_length;             /* of the path up to the slash before name; 0: the root */
} EntryName;

/* -EBADMSG with a sentence for "..", parts that are too long, whiteouts that name nothing. Leading slashes
 * are dropped. */
int entry_name_parse(const char *raw, EntryName *ret, Fault *fault);
/* A path only (the target of a hard link), where whiteouts mean nothing. */
int entry_name_parse_path(const char *raw, EntryName *ret, Fault *fault);
