/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/inherited-fds.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/fd.h"

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2)
#endif

/* All that stays is first copied out of the way, above base, then put into its place: whatever the numbers
 * were before, none overwrites another. */
static int copy_above(int fd, int base) {
        int copy = fcntl(fd, F_DUPFD_CLOEXEC, base);
        return copy < 0 ? -errno : copy;
}

static int open_standard(const ContainerPlan *plan, int number) {
        if (plan->terminal_fd >= 0)
                return plan->terminal_fd;
        if (plan->request->standard[number] >= 0)
                return plan->request->standard[number];
        return plan->null_fd;
}

static int put_in_place(ContainerPlan *plan, int base) {
        const ContainerRequest *request = plan->request;
        int high[3 + CONTAINER_EXTRA_FDS_MAX];
        int count = 3 + (int) request->extra_fd_count;
        for (int i = 0; i < count; i++) {
                int fd = i < 3 ? open_standard(plan, i) : request->extra_fds[i - 3];
                high[i] = fd < 0 ? fd : copy_above(fd, base);
                if (high[i] < 0)
                        return high[i];
        }
        for (int i = 0; i < count; i++)
                if (dup2(high[i], i) < 0)
                        return -errno;
        return 0;
}

/* The channels to the parent come to lie right above the payload's, so that one call closes all the rest. */
static int keep_channels(ContainerPlan *plan, int first) {
        int *channels[] = { &plan->init_socket, &plan->start_fd, &plan->result_fd };
        for (size_t i = 0; i < ELEMENTS_OF(channels); i++) {
                if (*channels[i] < 0)
                        continue;
                if (*channels[i] != first && dup3(*channels[i], first, O_CLOEXEC) < 0)
                        return -errno;
                *channels[i] = first++;
        }
        return syscall(SYS_close_range, (unsigned) first, ~0U, 0) < 0 ? -errno : 0;
}

int inherited_fds_step_arrange(ContainerPlan *plan, Fault *fault) {
        int count = 3 + (int) plan->request->extra_fd_count, base = count + 3;
        int *channels[] = { &plan->init_socket, &plan->start_fd, &plan->result_fd };
        for (size_t i = 0; i < ELEMENTS_OF(channels); i++) {
                int copy = *channels[i] < 0 ? *channels[i] : copy_above(*channels[i], base);
                if (*channels[i] >= 0 && copy < 0)
                        return copy;
                *channels[i] = copy;
        }
        int r = put_in_place(plan, base);
        if (r >= 0)
                r = keep_channels(plan, count);
        if (r < 0)
                return r;
        if (plan->config->process.terminal && ioctl(0, TIOCSCTTY, 0) < 0)
                return fault_set_errno(fault, -errno, "the controlling terminal");
        return 0;
}
