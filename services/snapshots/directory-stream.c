/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/directory-stream.h"

#include <errno.h>

#include "lib/path.h"

int directory_stream_next(DIR *stream, const char **ret) {
        for (;;) {
                errno = 0;
                const struct dirent *entry = readdir(stream);
                if (!entry)
                        return -errno;
                if (path_is_component(entry->d_name)) {
                        *ret = entry->d_name;
                        return 1;
                }
        }
}
