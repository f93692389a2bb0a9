/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/tree-notes.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>

static bool is_part(const char *part, size_t length) {
        return length > 0 && length <= NAME_MAX && !(length == 1 && part[0] == '.') &&
               !(length == 2 && part[0] == '.' && part[1] == '.');
}

static bool is_path(const char *path, size_t length) {
        if (length == 0 || length >= PATH_MAX)
                return false;
        for (;;) {
                size_t part = strcspn(path, "/");
                if (!is_part(path, part))
                        return false;
                if (!path[part])
                        return true;
                path += part + 1;
        }
}

int tree_notes_next(const char **at, const char *end, TreeNote *ret) {
        const char *note = *at, *last = memchr(note, '\0', (size_t) (end - note));
        if (note == end) {
                *ret = (TreeNote){ .kind = TREE_NOTE_END };
                return 0;
        }
        if (!last || last == note)
                return -EBADMSG;
        size_t length = (size_t) (last - note) - 1;
        bool fits = note[0] == TREE_NOTE_ROOT ? length == 0
                    : note[0] == TREE_NOTE_IMPLIED
                            ? is_path(note + 1, length)
                            : note[0] == TREE_NOTE_OPAQUE && (length == 0 || is_path(note + 1, length));
        if (!fits)
                return -EBADMSG;
        *ret = (TreeNote){ .kind = (TreeNoteKind) note[0], .path = note + 1 };
        *at = last + 1;
        return 0;
}

int tree_notes_fault(Fault *fault) {
        return fault_set(fault, -EBADMSG,
                         "What was noted about the directories of the layer does not fit its tree");
}
