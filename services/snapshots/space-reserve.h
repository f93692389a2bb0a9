/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What is left to others on a file system that layers and copies fill: 64 MiB and 1024 inodes, or the
 * fiftieth part of all where that is less. Whoever writes looks at it himself; and because he may have been
 * taken over, so does the service, from outside. */

#include <stdint.h>

#include "lib/fault.h"

/* -ENOSPC: there is no more than that left to "unpack the layer". */
int space_reserve_check(int fd, const char *purpose, Fault *fault);

/* The same from outside, with half of it: those who keep to their rules have stopped before. *ret_usec: by
 * when to look again, as nobody writes so much faster. */
int space_reserve_look(int fd, uint64_t *ret_usec, const char *purpose, Fault *fault);
