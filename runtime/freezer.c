/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/freezer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "lib/fd.h"

#define TIMEOUT_MS 10000

/* cgroup.events tells by POLLPRI when "frozen" changes. */
static int wait_for(int events, const char *line) {
        for (;;) {
                char text[256];
                ssize_t n = pread(events, text, sizeof(text) - 1, 0);
                if (n < 0)
                        return -errno;
                text[n] = '\0';
                if (strstr(text, line))
                        return 0;
                struct pollfd wait = { .fd = events, .events = POLLPRI };
                int r = poll(&wait, 1, TIMEOUT_MS);
                if (r == 0)
                        return -ETIMEDOUT;
                if (r < 0 && errno != EINTR)
                        return -errno;
        }
}

int freezer_set(int cgroup, bool frozen, Fault *fault) {
        _cleanup_close_ int events = openat(cgroup, "cgroup.events", O_RDONLY | O_CLOEXEC);
        if (events < 0)
                return fault_set_errno(fault, -errno, "cgroup.events");
        int r = fd_write_file_at(cgroup, "cgroup.freeze", frozen ? "1" : "0");
        if (r == -ENOENT)
                return fault_set(fault, -EOPNOTSUPP, "this kernel can't freeze cgroups");
        if (r < 0)
                return fault_set_errno(fault, r, "cgroup.freeze");
        r = wait_for(events, frozen ? "frozen 1" : "frozen 0");
        if (r < 0 && frozen)
                (void) fd_write_file_at(cgroup, "cgroup.freeze", "0");
        return r < 0 ? fault_set_errno(fault, r, frozen ? "freezing" : "thawing") : 0;
}
