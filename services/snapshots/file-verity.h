/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* fs-verity for files that are written once: the kernel then refuses to read what is not what was written.
 * Whoever keeps the digest elsewhere notices another file in its place, too. */

#include <stddef.h>

/* "ALGORITHM:HEX", of 64 bytes at most. */
#define FILE_VERITY_SIZE ((size_t) 16 + 2 * 64 + 1)

/* Switches it on for the file, which nobody has open for writing. 0 also where the file system does not have
 * it. */
int file_verity_enable(int file);
/* 1 and its digest; 0: the file does not have it. */
int file_verity_measure(int file, char ret[FILE_VERITY_SIZE]);
/* -EUCLEAN: the file is not what this digest stands for, or does not have fs-verity. */
int file_verity_check(int file, const char *expected);
