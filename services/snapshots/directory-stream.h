/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The names in a directory, where an error is not taken for the end. */

#include <dirent.h>

/* The next name that is one ("." and ".." are none); valid until the next call. 1, 0 at the end. */
int directory_stream_next(DIR *stream, const char **ret);
