/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Writes a tree as an EROFS image (Documentation/filesystems/erofs.rst of the kernel): uncompressed, every
 * file in blocks of its own, so that file systems which can share blocks do so between tree and image, and
 * without its holes. The same tree gives the same bytes. */

#include "lib/fault.h"

/* image: an empty file. */
int erofs_image_write(int root, int image, Fault *fault);
