/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Files as block devices, for kernels that mount no files. */

#include <stdbool.h>

#define LOOP_DEVICE_PATH_SIZE 32

/* Whether there may be some: hosts that are containers themselves rarely have any. */
bool loop_device_is_known(void);

/* A read-only device for the file, which releases itself when the last that uses it has closed it; the
 * kernel reads the file directly, where it can, so that nothing is cached twice. Its descriptor and its
 * path. -ENXIO: there are no such devices here. */
int loop_device_attach(int file, char ret_path[LOOP_DEVICE_PATH_SIZE]);
