/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One file from one directory into another, with everything that it is: contents (shared with the first one
 * where the file system can), holes, owner, mode, times and attributes, but not the marks of overlayfs. */

#include <sys/stat.h>

/* A regular file; there is none of that name yet. -ENOSPC also when only the reserve (space-reserve.h) is
 * left. */
int file_copy(int from, int to, const char *name);
/* A symbolic link, device node, named pipe or socket. Uses the working directory. */
int file_copy_special(int from, int to, const char *name, const struct stat *st);
/* All but the contents, by descriptors of the same kind: it has no others afterwards. */
int file_copy_attributes(int from, int to);
/* What the directory around it, or an earlier layer, gave it, but for those that the other has; -EBADF: all.
 */
int file_remove_xattrs(int fd, int but_of);
/* size bytes from one place to another. */
int file_copy_range(int from, off_t from_offset, int to, off_t to_offset, off_t size);
