/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/raw-terminal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#define KEY_FIRST 0x10  /* ctrl-p */
#define KEY_SECOND 0x11 /* ctrl-q */

static struct termios saved;
static int raw_fd = -EBADF;

void terminal_restore(void) {
        if (raw_fd < 0)
                return;
        (void) tcsetattr(raw_fd, TCSADRAIN, &saved);
        raw_fd = -EBADF;
}

int terminal_make_raw(int fd, bool keys) {
        static bool registered;
        if (tcgetattr(fd, &saved) < 0)
                return -errno;
        if (!registered && atexit(terminal_restore) != 0)
                return -ENOMEM;
        registered = true;

        struct termios raw = saved;
        if (keys)
                cfmakeraw(&raw);
        else
                raw.c_oflag &= ~(tcflag_t) OPOST;
        if (tcsetattr(fd, TCSADRAIN, &raw) < 0)
                return -errno;
        raw_fd = fd;
        return 0;
}

void terminal_copy_size(int from, int to) {
        struct winsize size;
        if (ioctl(from, TIOCGWINSZ, &size) >= 0)
                (void) ioctl(to, TIOCSWINSZ, &size);
}

void terminal_get_size(int fd, unsigned *ret_rows, unsigned *ret_columns) {
        struct winsize size = { 0 };
        if (ioctl(fd, TIOCGWINSZ, &size) < 0)
                size = (struct winsize){ 0 };
        *ret_rows = size.ws_row;
        *ret_columns = size.ws_col;
}

int terminal_ask_password(const char *prompt, char **ret, Fault *fault) {
        char line[1024];
        struct termios before, silent;

        if (tcgetattr(STDIN_FILENO, &before) < 0)
                return fault_set_errno(fault, -errno, "the terminal");
        fputs(prompt, stderr);
        fflush(stderr);
        silent = before;
        silent.c_lflag &= ~(tcflag_t) ECHO;
        (void) tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
        ssize_t n = read(STDIN_FILENO, line, sizeof(line) - 1);
        (void) tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
        fputc('\n', stderr);
        if (n < 0)
                return fault_set_errno(fault, -errno, "the terminal");
        line[n] = 0;
        line[strcspn(line, "\n")] = 0;
        *ret = strdup(line);
        explicit_bzero(line, sizeof(line));
        return *ret ? 0 : -ENOMEM;
}

size_t detach_keys_filter(DetachKeys *keys, const char *data, size_t size, char *out) {
        size_t length = 0;
        for (size_t i = 0; i < size && !keys->detached; i++) {
                if (keys->pending && data[i] == KEY_SECOND) {
                        keys->detached = true;
                        break;
                }
                if (keys->pending && data[i] != KEY_FIRST) {
                        out[length++] = KEY_FIRST;
                        keys->pending = false;
                } else if (keys->pending) {
                        /* Pressed twice: the first one is the container's, the second may begin the pair. */
                        out[length++] = KEY_FIRST;
                        continue;
                }
                if (data[i] == KEY_FIRST)
                        keys->pending = true;
                else
                        out[length++] = data[i];
        }
        return length;
}
