/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The directories of snapshots: trees/NUMBER/, and trash/ where trees wait to be deleted. What a tree
 * consists of is the driver's matter. */

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/fault.h"
#include "lib/macros.h"

typedef struct TreeStore {
        int trees; /* open since the start: syncfs() on it reports what went wrong with writing since then */
        int trash;
        int aside; /* trees that somebody may still look at until the next boot */

        /* For workers, by copies of the mount: from these descriptors no way leads out of the state's
         * directory, or out of the trees, which the last one only shows. */
        int state_copy; /* keeps the next two */
        int handed_trees;
        int handed_trash;
        int shown_trees;
} TreeStore;

#define TREE_STORE_NULL                                                                                     \
        ((TreeStore){ .trees = -EBADF,                                                                      \
                      .trash = -EBADF,                                                                      \
                      .aside = -EBADF,                                                                      \
                      .state_copy = -EBADF,                                                                 \
                      .handed_trees = -EBADF,                                                               \
                      .handed_trash = -EBADF,                                                               \
                      .shown_trees = -EBADF })

int tree_store_open(int state, TreeStore *ret, Fault *fault);
/* Those for workers, which takes CAP_SYS_ADMIN. */
int tree_store_open_handed(int state, TreeStore *store, Fault *fault);
void tree_store_done(TreeStore *store);

/* An empty directory trees/NUMBER; its descriptor. */
int tree_store_make(TreeStore *store, int64_t id, Fault *fault);
/* trees/NUMBER. */
int tree_store_get(const TreeStore *store, int64_t id);
/* Moves a tree to the trash, in one step. No error if there is none. */
int tree_store_discard(TreeStore *store, int64_t id, Fault *fault);
/* Something in a tree's directory. */
int tree_discard_part(int tree, const char *name, int trash);
/* Moves a tree aside, or back; no error if there is none. */
int tree_store_put_aside(TreeStore *store, int64_t id, Fault *fault);
int tree_store_take_back(TreeStore *store, int64_t id);
/* After a boot: nobody looks at them any more. */
int tree_store_discard_aside(TreeStore *store);
bool tree_store_has_trash(const TreeStore *store);

/* Calls visit for each tree's number. Returns the first negative value. */
typedef int (*TreeVisit)(int64_t id, void *userdata);
int tree_store_visit(const TreeStore *store, TreeVisit visit, void *userdata);

/* "NUMBER/part" relative to trees. */
#define TREE_PATH_SIZE 48
const char *tree_path(int64_t id, const char *part, char buffer[TREE_PATH_SIZE]);
