/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The supervisor's connections to the service. */

#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/ioctl.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/message.h"
#include "services/tasks/supervisor.h"

int supervisor_add_connection(Supervisor *supervisor, int fd) {
        _cleanup_close_ int connection = fd;
        for (size_t i = 0; i < SUPERVISOR_CONNECTIONS_MAX; i++) {
                if (supervisor->connections[i] >= 0)
                        continue;
                int r = fd_set_nonblocking(connection, true);
                if (r >= 0)
                        r = supervisor_watch(supervisor, connection, EPOLLIN,
                                             SOURCE_CONNECTION + (unsigned) i);
                if (r < 0)
                        return r;
                supervisor->connections[i] = TAKE_FD(connection);
                return 0;
        }
        return -EDQUOT;
}

bool supervisor_is_connected(const Supervisor *supervisor) {
        for (size_t i = 0; i < SUPERVISOR_CONNECTIONS_MAX; i++)
                if (supervisor->connections[i] >= 0)
                        return true;
        return false;
}

static void drop_connection(Supervisor *supervisor, size_t index) {
        supervisor->connections[index] = fd_close(supervisor->connections[index]);
}

static void announce_to(Supervisor *supervisor, size_t index) {
        SupervisorMessage message = { .type = supervisor->ended ? SUPERVISOR_EXITED : SUPERVISOR_STARTED };
        bool terminal = !supervisor->ended && supervisor->terminal >= 0;
        int r = message_send(supervisor->connections[index], &message, sizeof(message),
                             &supervisor->terminal, terminal ? 1 : 0);
        if (r < 0)
                drop_connection(supervisor, index);
}

void supervisor_announce(Supervisor *supervisor) {
        if (!supervisor->started && !supervisor->ended)
                return;
        for (size_t i = 0; i < SUPERVISOR_CONNECTIONS_MAX; i++)
                if (supervisor->connections[i] >= 0)
                        announce_to(supervisor, i);
}

int supervisor_accept(Supervisor *supervisor) {
        struct ucred credentials;
        socklen_t size = sizeof(credentials);
        _cleanup_close_ int fd = accept4(supervisor->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0)
                return errno == EAGAIN || errno == ECONNABORTED || errno == EINTR ? 0 : -errno;
        /* The socket's mode and place say so already. */
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0 || credentials.uid != 0)
                return 0;
        int accepted = fd;
        if (supervisor_add_connection(supervisor, TAKE_FD(fd)) < 0)
                return 0;
        for (size_t i = 0; i < SUPERVISOR_CONNECTIONS_MAX; i++)
                if (supervisor->connections[i] == accepted && (supervisor->started || supervisor->ended))
                        announce_to(supervisor, i);
        return 0;
}

static void resize_terminal(const Supervisor *supervisor, const SupervisorMessage *message) {
        const struct winsize size = {
                .ws_row = (unsigned short) message->rows,
                .ws_col = (unsigned short) message->columns,
        };
        if (supervisor->terminal >= 0)
                (void) ioctl(supervisor->terminal, TIOCSWINSZ, &size);
}

static int keep_descriptors(Supervisor *supervisor, int *fds, size_t count) {
        for (size_t i = 0; i < count; i++) {
                if (supervisor->descriptor_count == SUPERVISOR_DESCRIPTORS_MAX)
                        return -EDQUOT;
                supervisor->descriptors[supervisor->descriptor_count++] = TAKE_FD(fds[i]);
        }
        return 0;
}

static int handle_message(Supervisor *supervisor, const SupervisorMessage *message, int *fds, size_t count) {
        switch (message->type) {
        case SUPERVISOR_DESCRIPTORS:
                return supervisor->gone_on ? 0 : keep_descriptors(supervisor, fds, count);
        case SUPERVISOR_GO:
                return supervisor->gone_on ? 0 : supervisor_go(supervisor, message, fds, count);
        case SUPERVISOR_RESIZE:
                resize_terminal(supervisor, message);
                return 0;
        case SUPERVISOR_SEEN:
                supervisor->seen = supervisor->ended;
                return 0;
        default:
                return 0; /* of a later version */
        }
}

int supervisor_receive(Supervisor *supervisor, size_t index) {
        SupervisorMessage message;
        int fds[MESSAGE_FDS_MAX];
        size_t count = 0;
        char data[256];
        ssize_t n = message_receive(supervisor->connections[index], data, sizeof(data), fds, &count);
        if (n == -EAGAIN)
                return 0;
        if (n <= 0) {
                drop_connection(supervisor, index);
                return 0;
        }
        int r = supervisor_message_parse(data, n, &message);
        if (r > 0)
                r = handle_message(supervisor, &message, fds, count);
        fd_close_many(fds, count);
        return r;
}

int supervisor_activate_service(const Supervisor *supervisor) {
        static const struct sockaddr_un address = { .sun_family = AF_UNIX,
                                                    .sun_path = SUPERVISOR_EXIT_SOCKET };
        const struct timeval patience = { .tv_sec = 5 };
        char note[SUPERVISOR_EXIT_NOTE_MAX];
        _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return -errno;
        /* The NUL between the two is part of the format. */
        int n = snprintf(note, sizeof(note), "%s%c%s", supervisor->namespace, '\0', supervisor->id);
        (void) setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
        if (connect(fd, (const struct sockaddr *) &address, sizeof(address)) < 0)
                return -errno;
        return fd_write_all(fd, note, (size_t) n + 1);
}
