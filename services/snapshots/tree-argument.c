/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/tree-argument.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>

#include "lib/macros.h"
#include "lib/strv.h"

#define FIELDS 5

int tree_argument_append(char ***arguments, const TreeArgument *argument) {
        return strv_appendf(arguments, "%s:%" PRIi64 ":%zu:%" PRIi64 ":%i",
                            snapshot_driver_kind_to_string(argument->driver), argument->id, argument->parent,
                            argument->parent_id, argument->mounted);
}

int tree_argument_parse(const char *text, TreeArgument *ret) {
        uint64_t numbers[FIELDS] = { 0 };
        _cleanup_free_ char *copy = strdup(text);
        if (!copy)
                return -ENOMEM;
        char *state = NULL;
        SnapshotDriverKind driver = _SNAPSHOT_DRIVER_KIND_INVALID;
        size_t count = 0;
        for (char *part = strtok_r(copy, ":", &state); part; part = strtok_r(NULL, ":", &state)) {
                if (count == 0)
                        driver = snapshot_driver_kind_from_string(part);
                else if (count >= FIELDS || string_to_uint64(part, INT64_MAX, &numbers[count]) < 0)
                        return -EINVAL;
                count++;
        }
        if (count != FIELDS || driver < 0 || numbers[1] == 0 || numbers[2] > INT_MAX || numbers[4] > 1)
                return -EINVAL;
        *ret = (TreeArgument){
                .id = (int64_t) numbers[1],
                .driver = driver,
                .parent = (size_t) numbers[2],
                .parent_id = (int64_t) numbers[3],
                .mounted = numbers[4] == 1,
        };
        return 0;
}
