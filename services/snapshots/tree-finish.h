/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What is done to a tree before it is committed: a layer that was unpacked without its parents gets from
 * them what it does not say itself, and the marks that need a privilege that its unpacker had not. */

#include <stdint.h>

#include "lib/fault.h"

/* Tree id below trees, on top of parent: the root of all that lies below, merged; -EBADF: nothing. Acts on
 * the notes that directory_table_apply() left beside the files; a tree without notes is left alone. Doing it
 * again changes nothing, and on another parent (a commit that failed is repeated) it is as if it had never
 * been done. -EBUSY: files of it were moved for another parent already, and it can only be done on that. */
int tree_finish(int trees, int64_t id, int parent, int64_t parent_id, Fault *fault);
