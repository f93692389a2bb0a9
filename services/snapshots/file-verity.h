/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* fs-verity for files that are written once: the kernel then refuses to read what is not what was written.
 * The digest is kept in a file beside it, so that another file in its place is noticed, too. */

/* Switches it on for the file, which nobody has open for writing, and notes the digest. 0 also where the
 * file system does not have it. */
int file_verity_enable(int directory, const char *note, int file);
/* -EUCLEAN: a digest is noted, and the file is not what it stands for. */
int file_verity_check(int directory, const char *note, int file);
