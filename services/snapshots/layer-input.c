/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/layer-input.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Small enough to be still in the processor's cache when it is decompressed. */
#define INPUT_SIZE ((size_t) 128 * 1024)
#define PIPE_SIZE (1024 * 1024)
/* What has arrived by then is worth being passed on. */
#define PAUSE_MILLISECONDS 100

int layer_input_init(LayerInput *input, int fd, int stall_seconds, Fault *fault) {
        struct stat st;
        if (fstat(fd, &st) < 0)
                return fault_set_errno(fault, -errno, "Can't look at the layer's descriptor");
        *input = (LayerInput){ .fd = fd, .stall_seconds = stall_seconds, .is_regular = S_ISREG(st.st_mode) };
        if (S_ISREG(st.st_mode))
                (void) posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
        else if (S_ISFIFO(st.st_mode))
                (void) fcntl(fd, F_SETPIPE_SZ, PIPE_SIZE);
        input->buffer = malloc(INPUT_SIZE);
        return input->buffer ? 0 : -ENOMEM;
}

void layer_input_done(LayerInput *input) {
        input->buffer = mfree(input->buffer);
}

static int input_poll(const LayerInput *input, int milliseconds) {
        struct pollfd poll_fd = { .fd = input->fd, .events = POLLIN };
        int r;
        do
                r = poll(&poll_fd, 1, milliseconds);
        while (r < 0 && errno == EINTR);
        return r < 0 ? -errno : r;
}

static int input_wait(const LayerInput *input, Fault *fault) {
        int r = input_poll(input, PAUSE_MILLISECONDS);
        if (r == 0 && input->may_pause)
                return -EAGAIN;
        if (r == 0)
                r = input_poll(input, input->stall_seconds > 0 ? input->stall_seconds * 1000 : -1);
        if (r < 0)
                return fault_set_errno(fault, r, "Can't wait for the layer");
        if (r == 0)
                return fault_set(fault, -ETIMEDOUT, "Nothing of the layer arrived for %i seconds",
                                 input->stall_seconds);
        return 0;
}

/* Files are read by position: their offset belongs to whoever opened them. */
static ssize_t input_read_some(LayerInput *input, uint8_t *to, size_t size, Fault *fault) {
        for (;;) {
                if (!input->is_regular) {
                        int r = input_wait(input, fault);
                        if (r < 0)
                                return r;
                }
                ssize_t n = input->is_regular ? pread(input->fd, to, size, (off_t) input->taken)
                                              : read(input->fd, to, size);
                if (n >= 0) {
                        input->taken += (uint64_t) n;
                        return n;
                }
                if (errno != EINTR && errno != EAGAIN)
                        return fault_set_errno(fault, -errno, "Can't read the layer");
        }
}

ssize_t layer_input_read(LayerInput *input, uint8_t *to, size_t size, Fault *fault) {
        assert(input->available == 0);
        if (input->at_end)
                return 0;
        ssize_t n = input_read_some(input, to, size, fault);
        input->at_end = n == 0;
        return n;
}

int layer_input_fill(LayerInput *input, Fault *fault) {
        if (input->available > 0)
                return 1;
        if (input->at_end)
                return 0;
        ssize_t n = input_read_some(input, input->buffer, INPUT_SIZE, fault);
        if (n < 0)
                return (int) n;
        input->next = input->buffer;
        input->available = (size_t) n;
        input->at_end = n == 0;
        return n > 0;
}

int layer_input_peek(LayerInput *input, size_t count, Fault *fault) {
        int r = layer_input_fill(input, fault);
        if (r <= 0)
                return r;
        memmove(input->buffer, input->next, input->available);
        input->next = input->buffer;
        while (input->available < count && !input->at_end) {
                ssize_t n = input_read_some(input, input->buffer + input->available,
                                            INPUT_SIZE - input->available, fault);
                if (n < 0)
                        return (int) n;
                input->available += (size_t) n;
                input->at_end = n == 0;
        }
        return 1;
}
