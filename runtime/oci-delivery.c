/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/oci-delivery.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/message.h"

/* A path that is too long for a socket's address is reached through a descriptor of its file. */
int oci_delivery_connect(const char *option, const char *path, Fault *fault) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        _cleanup_close_ int place = -EBADF;
        char through[FD_PROC_PATH_SIZE];
        if (strlen(path) >= sizeof(address.sun_path)) {
                place = open(path, O_PATH | O_CLOEXEC);
                if (place < 0)
                        return fault_set_errno(fault, -errno, "%s: %s", option, path);
                (void) strcpy(address.sun_path, fd_proc_path(place, through));
        } else {
                (void) strcpy(address.sun_path, path);
        }
        _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *) &address, sizeof(address)) < 0)
                return fault_set_errno(fault, -errno, "%s: %s", option, path);
        return TAKE_FD(fd);
}

int oci_delivery_send_terminal(int socket, int terminal, Fault *fault) {
        static const char name[] = "/dev/ptmx";
        if (terminal < 0)
                return fault_set(fault, -EIO, "the container's process sent no terminal");
        int r = message_send(socket, name, sizeof(name) - 1, &terminal, 1);
        return r < 0 ? fault_set_errno(fault, r, "--console-socket: sending the terminal") : 0;
}

int oci_delivery_send_pidfd(const char *path, int pidfd, Fault *fault) {
        static const char name[] = "pidfd";
        _cleanup_close_ int socket = oci_delivery_connect("--pidfd-socket", path, fault);
        int r = socket < 0 ? socket : message_send(socket, name, sizeof(name) - 1, &pidfd, 1);
        return r < 0 ? fault_set_errno(fault, r, "--pidfd-socket: sending the pidfd") : 0;
}

int oci_delivery_write_pid(const char *path, pid_t pid, Fault *fault) {
        char text[32];
        _cleanup_free_ char *temporary = NULL;
        if (asprintf(&temporary, "%s.%i~", path, getpid()) < 0)
                return -ENOMEM;
        (void) snprintf(text, sizeof(text), "%i", pid);
        _cleanup_close_ int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
        int r = fd < 0 ? -errno : fd_write_all(fd, text, strlen(text));
        if (r >= 0 && rename(temporary, path) < 0)
                r = -errno;
        if (r < 0 && fd >= 0)
                (void) unlink(temporary);
        return r < 0 ? fault_set_errno(fault, r, "--pid-file: %s", path) : 0;
}
