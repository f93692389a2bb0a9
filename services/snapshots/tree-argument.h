/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What crt-tree is told about one tree: "DRIVER:TREE:DESCRIPTOR:PARENT:MOUNTED". */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "services/snapshots/snapshot-driver.h"

/* Descriptors of parents begin here: 3 is the socket, 4 the trees, 5 the trash. */
#define TREE_ARGUMENT_FIRST_FD 6

typedef struct TreeArgument {
        int64_t id;
        SnapshotDriverKind driver;
        size_t parent; /* the number of a descriptor; 0: none */
        int64_t parent_id;
        bool mounted;
} TreeArgument;

int tree_argument_append(char ***arguments, const TreeArgument *argument);
/* -EINVAL. */
int tree_argument_parse(const char *text, TreeArgument *ret);
