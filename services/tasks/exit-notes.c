/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The socket that starts this service when a container ends. A note is a hint: what counts is the record in
 * /run. */

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "lib/fd.h"
#include "services/tasks/tasks-bus.h"

static int read_note(TaskTable *table, int fd) {
        char note[SUPERVISOR_EXIT_NOTE_MAX];
        struct ucred credentials;
        socklen_t size = sizeof(credentials);
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0 || credentials.uid != 0)
                return 0;
        /* One that does not write is not waited for: all containers were looked at when the service began.
         */
        ssize_t n = recv(fd, note, sizeof(note) - 1, MSG_DONTWAIT);
        if (n <= 0)
                return 0;
        note[n] = '\0';
        const char *id = note + strlen(note) + 1;
        if (id < note + n)
                task_table_note_end(table, note, id);
        return 0;
}

static int on_connection(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        _cleanup_close_ int connection = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (connection < 0)
                return errno == EAGAIN || errno == EINTR || errno == ECONNABORTED ? 0 : -errno;
        return read_note(userdata, connection);
}

int exit_notes_listen(sd_event *event, int fd, TaskTable *table, sd_event_source **ret) {
        int r = fd_set_nonblocking(fd, true);
        return r < 0 ? r : sd_event_add_io(event, ret, fd, EPOLLIN, on_connection, table);
}
