/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Object paths: <root>/<kind>/<namespace>/<object>, the last two escaped. */

#include "lib/macros.h"

/* "/org/crt/Tasks", "container", "system", "web": "/org/crt/Tasks/container/system/web", a fresh string. */
int object_path_encode(const char *root, const char *kind, const char *namespace, const char *object,
                       char **ret);

/* The other way round: fresh strings. 1 if path is one of that kind (kind NULL: of any), 0 if not. */
int object_path_decode(const char *root, const char *path, const char *kind, char **ret_namespace,
                       char **ret_object);
