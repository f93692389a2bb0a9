/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Extended attributes as EROFS has them behind an inode. */

#include <stddef.h>
#include <stdint.h>

/* NULL and 0: there are none. Malloc()ed, a multiple of four bytes, the header included. */
int erofs_xattrs_read(int fd, uint8_t **ret, size_t *ret_size);
/* Of what is not opened. Uses the working directory. */
int erofs_xattrs_read_at(int directory, const char *name, uint8_t **ret, size_t *ret_size);
