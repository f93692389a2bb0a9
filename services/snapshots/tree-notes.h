/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the unpacking of a layer noted about its directories, for whoever finishes the tree: letters, each
 * with a path and a NUL. It was written by a process that has parsed foreign bytes. */

#include <stddef.h>

#include "lib/fault.h"

typedef enum TreeNoteKind {
        TREE_NOTE_END = 0,
        TREE_NOTE_ROOT = 'r',    /* the layer describes the root; no path */
        TREE_NOTE_IMPLIED = 'i', /* it has this directory only as part of other paths */
        TREE_NOTE_OPAQUE = 'o',  /* nothing of lower layers is seen in it; "" is the root */
} TreeNoteKind;

typedef struct TreeNote {
        TreeNoteKind kind;
        const char *path; /* in the notes: without "..", and no part of it is too long */
} TreeNote;

/* The next one; *at is moved on. -EBADMSG: that is none. */
int tree_notes_next(const char **at, const char *end, TreeNote *ret);
/* -EBADMSG with a sentence. */
int tree_notes_fault(Fault *fault);
