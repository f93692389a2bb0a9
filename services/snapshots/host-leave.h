/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* For a worker in a mount namespace of its own, before it looks at what others have made. */

/* A file system without a file becomes the root of this mount namespace, and the only mount in it: what is
 * left are the descriptors that the worker was handed. */
int host_leave(void);
