/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/message.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "lib/fd.h"

typedef union ControlBuffer {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int) * MESSAGE_FDS_MAX)];
} ControlBuffer;

int message_pair(int *ret_daemon, int *ret_worker) {
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return -errno;
        int r = fd_set_nonblocking(pair[0], true);
        if (r < 0) {
                fd_close_many(pair, 2);
                return r;
        }
        *ret_daemon = pair[0];
        *ret_worker = pair[1];
        return 0;
}

int message_send(int socket, const void *data, size_t size, const int *fds, size_t fd_count) {
        assert(fd_count <= MESSAGE_FDS_MAX);
        struct iovec part = { .iov_base = (void *) data, .iov_len = size };
        struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
        ControlBuffer control = { 0 };

        if (fd_count > 0) {
                message.msg_control = &control;
                message.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
                struct cmsghdr *header = CMSG_FIRSTHDR(&message);
                header->cmsg_level = SOL_SOCKET;
                header->cmsg_type = SCM_RIGHTS;
                header->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
                memcpy(CMSG_DATA(header), fds, sizeof(int) * fd_count);
        }
        ssize_t n;
        do
                n = sendmsg(socket, &message, MSG_NOSIGNAL);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return errno == ECONNRESET ? -EPIPE : -errno;
        return (size_t) n == size ? 0 : -EIO;
}

static size_t control_take_fds(struct msghdr *message, int fds[MESSAGE_FDS_MAX]) {
        size_t count = 0;
        for (struct cmsghdr *h = CMSG_FIRSTHDR(message); h; h = CMSG_NXTHDR(message, h)) {
                if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
                        continue;
                size_t n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
                for (size_t i = 0; i < n; i++) {
                        int fd;
                        memcpy(&fd, CMSG_DATA(h) + i * sizeof(int), sizeof(int));
                        if (count < MESSAGE_FDS_MAX)
                                fds[count++] = fd;
                        else
                                fd_close(fd);
                }
        }
        return count;
}

static ssize_t receive(int socket, struct msghdr *message) {
        ssize_t n;
        do
                n = recvmsg(socket, message, MSG_CMSG_CLOEXEC);
        while (n < 0 && errno == EINTR);
        return n;
}

/* That the other end left something unread is told once, and before what it has said. */
ssize_t message_receive(int socket, void *data, size_t size, int *fds, size_t *ret_fd_count) {
        struct iovec part = { .iov_base = data, .iov_len = size };
        ControlBuffer control = { 0 };
        struct msghdr message = {
                .msg_iov = &part,
                .msg_iovlen = 1,
                .msg_control = &control,
                .msg_controllen = sizeof(control),
        };

        ssize_t n = receive(socket, &message);
        if (n < 0 && errno == ECONNRESET)
                n = receive(socket, &message);
        if (n < 0)
                return errno == ECONNRESET ? 0 : -errno;

        int received[MESSAGE_FDS_MAX];
        size_t count = control_take_fds(&message, received);
        if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) || (count > 0 && !fds)) {
                fd_close_many(received, count);
                return -EMSGSIZE;
        }
        if (fds) {
                memcpy(fds, received, count * sizeof(int));
                *ret_fd_count = count;
        }
        return n;
}
