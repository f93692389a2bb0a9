/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Deletes trees that nobody wants any more, however deep a hostile container made them: nothing here
 * recurses. */

#include <stdint.h>

#include "lib/fault.h"

/* Empties the directory. What can't be deleted is left, and the first error told. ret: what was freed, as
 * far as one can tell (of a subvolume, that it was one). */
typedef struct TrashEmptied {
        uint64_t size;
        uint64_t inodes;
} TrashEmptied;
int trash_empty(int trash, TrashEmptied *ret, Fault *fault);
