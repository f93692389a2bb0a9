/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a commit takes away from a tree is put aside in the tree's directory until the commit is recorded:
 * it is the live tree of whoever still has it mounted, and what is there again if nothing is recorded.
 *
 *   1. The worker begins, makes what is to be there, and replaces: both are in the tree's directory now.
 *   2. All of it is synced.
 *   3. The record is written, or not.
 *   4. The daemon settles it: what is not needed any more goes to the trash. Killed before that, it does so
 *      at the next start.
 *
 * Each step can be done again after it was ended anywhere. */

#include <stdbool.h>
#include <stdint.h>

#define TREE_STAGE_OLD "old" /* what was taken away; there from the beginning to the end of a commit */
#define TREE_STAGE_NEW "new" /* what a driver makes to take the place of something */

int tree_stage_begin(int tree, int trash);
/* name is put aside; by takes its place (NULL: nothing does). No error if there is no such name. */
int tree_stage_replace(int tree, const char *name, const char *by);
/* 0 also if nothing was begun. */
int tree_stage_settle(int tree, int trash, bool committed);
/* As it is for trees/NUMBER. */
int tree_stage_settle_by_id(int trees, int trash, int64_t id, bool committed);
bool tree_stage_is_begun(int trees, int64_t id);
