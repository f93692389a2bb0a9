/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Paths beneath a directory descriptor. Nothing here follows a symbolic link out of that directory. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/macros.h"

typedef enum PathResolve {
        PATH_BENEATH, /* no symlink may be in the way at all, no "..": for our own trees */
        PATH_IN_ROOT, /* symlinks are resolved as if directory were "/": for a container's root file system
                       */
} PathResolve;

/* openat2(2) with O_CLOEXEC; flags and mode as open(2). -ELOOP or -EXDEV when the path tries to leave. */
int path_open(int directory, const char *path, int flags, mode_t mode, PathResolve resolve);

/* mkdir -p, then opens the last directory (O_DIRECTORY|O_PATH or what flags say). */
int path_make_directories(int directory, const char *path, mode_t mode, PathResolve resolve);

/* Opens the directory that holds the last component, and copies that component out.
 * -EINVAL for "", ".", ".." and names with a slash at the end that name no component. */
int path_open_parent(int directory, const char *path, PathResolve resolve, char **ret_name);

/* Removes a file or a whole tree beneath directory without following links or crossing mounts; no error if
 * it is not there. */
int path_remove_tree(int directory, const char *path);

/* A single component: not empty, not "." or "..", no '/', at most NAME_MAX bytes. */
bool path_is_component(const char *name);

/* An absolute path without "." or ".." components, empty components or a slash at the end, below PATH_MAX.
 */
bool path_is_normal_absolute(const char *path);

/* Lexical cleaning of an absolute or relative path as inside a root: "/a/../../b" becomes "/b". */
int path_normalize(const char *path, char **ret);
