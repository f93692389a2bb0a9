/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The index of a SQLite database's log (-shm; SQLite's documentation, walformat.html, section 2), which
 * SQLite maps. Below a mapping the kernel has no other way to tell of an error of the disk than to kill the
 * process (SIGBUS). */

#include <stdbool.h>
#include <stdint.h>

/* Before the database is opened: an index that nobody has open says nothing, as who opens it next makes it
 * anew; it begins without a block, so that nothing of it is read from the disk, and, on btrfs, which writes
 * nothing in place unless it is told to, no write finds the disk full. What can't be opened here is left to
 * SQLite. */
int database_index_prepare(int directory, const char *name);
bool database_index_is_in_use(int directory, const char *name);
/* How many bytes of the log are committed; of one that is in use. */
int database_index_committed(int directory, const char *name, uint64_t *ret);
