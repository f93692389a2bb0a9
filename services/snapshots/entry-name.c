/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/entry-name.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "lib/strv.h"

#define AUFS_PREFIX ".wh..wh."
#define OPAQUE_NAME ".wh..wh..opq"

/* Sentences show the beginning of names that are too long to be shown. */
#define SHOWN "%.200s"

static int append_component(EntryName *name, size_t *length, const char *part, size_t n, const char *raw,
                            Fault *fault) {
        if (n == 2 && part[0] == '.' && part[1] == '.')
                return fault_set(fault, -EBADMSG, SHOWN ": a path in a layer must not have '..'", raw);
        if (n > NAME_MAX)
                return fault_set(fault, -EBADMSG, SHOWN "...: a part of the path is longer than %i bytes",
                                 raw, NAME_MAX);
        if (*length + n + 1 > LIMIT_PATH_LENGTH)
                return fault_set(fault, -EBADMSG, SHOWN "...: the path is longer than %i bytes", raw,
                                 LIMIT_PATH_LENGTH);
        name->parent_length = *length;
        if (*length > 0)
                name->path[(*length)++] = '/';
        name->name = name->path + *length;
        memcpy(name->name, part, n);
        *length += n;
        name->path[*length] = '\0';
        return 0;
}

int entry_name_parse_path(const char *raw, EntryName *ret, Fault *fault) {
        size_t length = 0;
        ret->kind = ENTRY_ROOT;
        ret->name = NULL;
        ret->parent_length = 0;
        ret->path[0] = '\0';

        for (const char *p = raw; *p;) {
                p += strspn(p, "/");
                size_t n = strcspn(p, "/");
                if (n > 0 && !(n == 1 && *p == '.')) {
                        int r = append_component(ret, &length, p, n, raw, fault);
                        if (r < 0)
                                return r;
                        ret->kind = ENTRY_PLAIN;
                }
                p += n;
        }
        return 0;
}

/* The name without the prefix moves to its place. */
static int become_whiteout(EntryName *name, Fault *fault) {
        const char *hidden = name->name + strlen(ENTRY_WHITEOUT_PREFIX);
        if (hidden[0] == '\0' || strcmp(hidden, ".") == 0 || strcmp(hidden, "..") == 0)
                return fault_set(fault, -EBADMSG, SHOWN ": is a whiteout of nothing", name->path);
        memmove(name->name, hidden, strlen(hidden) + 1);
        name->kind = ENTRY_WHITEOUT;
        return 0;
}

static int become_opaque(EntryName *name) {
        size_t length = name->parent_length;
        name->kind = ENTRY_OPAQUE;
        name->path[length] = '\0';
        char *slash = strrchr(name->path, '/');
        name->name = length == 0 ? NULL : slash ? slash + 1 : name->path;
        name->parent_length = slash ? (size_t) (slash - name->path) : 0;
        return 0;
}

int entry_name_parse(const char *raw, EntryName *ret, Fault *fault) {
        int r = entry_name_parse_path(raw, ret, fault);
        if (r < 0 || ret->kind == ENTRY_ROOT)
                return r;

        for (const char *part = ret->path; part < ret->name; part = strchr(part, '/') + 1) {
                if (string_after(part, AUFS_PREFIX)) {
                        ret->kind = ENTRY_IGNORED;
                        return 0;
                }
                if (string_after(part, ENTRY_WHITEOUT_PREFIX))
                        return fault_set(fault, -EBADMSG, SHOWN ": a whiteout can't be a directory",
                                         ret->path);
        }
        if (strcmp(ret->name, OPAQUE_NAME) == 0)
                return become_opaque(ret);
        if (string_after(ret->name, AUFS_PREFIX)) {
                ret->kind = ENTRY_IGNORED;
                return 0;
        }
        return string_after(ret->name, ENTRY_WHITEOUT_PREFIX) ? become_whiteout(ret, fault) : 0;
}
