/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Whether a disk reads anything at all. A file whose bytes are not what fs-verity or the checksums of btrfs
 * say gives the same error as a disk that fails; but then other files of the same disk can be read. */

#include <stdbool.h>

/* A file without a name in that directory, just written. */
int disk_sample_new(int directory);
/* Not from memory. False for any other file. */
bool disk_sample_is_readable(int fd);
