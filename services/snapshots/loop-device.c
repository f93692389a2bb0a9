/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/loop-device.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "lib/fd.h"

/* Between asking for a free one and taking it somebody else may have taken it. */
#define ATTEMPTS 64
#define CONTROL "/dev/loop-control"
/* Of EROFS images; the kernel reads a file directly only in blocks of its device. */
#define BLOCK_SIZE 4096

bool loop_device_is_known(void) {
        return access(CONTROL, F_OK) >= 0;
}

static int configure(int device, int file) {
        struct loop_config config = {
                .fd = (uint32_t) file,
                .block_size = BLOCK_SIZE,
                .info.lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO,
        };
        if (ioctl(device, LOOP_CONFIGURE, &config) >= 0)
                return 0;
        if (errno != EINVAL)
                return -errno;
        config.info.lo_flags &= ~(uint32_t) LO_FLAGS_DIRECT_IO; /* the file's file system can't */
        return ioctl(device, LOOP_CONFIGURE, &config) < 0 ? -errno : 0;
}

int loop_device_attach(int file, char ret_path[LOOP_DEVICE_PATH_SIZE]) {
        _cleanup_close_ int control = open(CONTROL, O_RDWR | O_CLOEXEC);
        if (control < 0)
                return errno == ENOENT || errno == ENODEV ? -ENXIO : -errno;
        for (unsigned i = 0; i < ATTEMPTS; i++) {
                int number = ioctl(control, LOOP_CTL_GET_FREE);
                if (number < 0)
                        return -errno;
                (void) snprintf(ret_path, LOOP_DEVICE_PATH_SIZE, "/dev/loop%i", number);
                _cleanup_close_ int device = open(ret_path, O_RDONLY | O_CLOEXEC);
                if (device < 0 && errno != ENXIO)
                        return errno == ENOENT ? -ENXIO : -errno;
                int r = device < 0 ? -EBUSY : configure(device, file);
                if (r != -EBUSY)
                        return r < 0 ? r : TAKE_FD(device);
        }
        return -EBUSY;
}
