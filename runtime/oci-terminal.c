/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/oci-terminal.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "lib/fd.h"

int oci_terminal_open(int master, OciTerminal *ret) {
        *ret = OCI_TERMINAL_INIT;
        ret->master = master;
        int r = fd_set_nonblocking(master, true);
        if (r < 0)
                return r;
        if (tcgetattr(STDIN_FILENO, &ret->saved) < 0)
                return 0; /* input comes from elsewhere */
        struct termios raw = ret->saved;
        cfmakeraw(&raw);
        if (tcsetattr(STDIN_FILENO, TCSANOW, &raw) < 0)
                return -errno;
        ret->raw = true;
        oci_terminal_resize(ret);
        return 0;
}

void oci_terminal_done(OciTerminal *terminal) {
        if (terminal->raw)
                (void) tcsetattr(STDIN_FILENO, TCSANOW, &terminal->saved);
        terminal->raw = false;
        terminal->master = fd_close(terminal->master);
}

void oci_terminal_resize(OciTerminal *terminal) {
        struct winsize size;
        if (terminal->raw && ioctl(STDIN_FILENO, TIOCGWINSZ, &size) >= 0 && size.ws_row > 0)
                (void) ioctl(terminal->master, TIOCSWINSZ, &size);
}

static bool is_empty(const OciTerminalFlow *flow) {
        return flow->begin == flow->end;
}

/* A flow is read into only when it is empty: whoever writes faster than the other side reads is held up. */
static void fill(OciTerminalFlow *flow, int fd) {
        ssize_t n = read(fd, flow->data, sizeof(flow->data));
        if (n > 0) {
                flow->begin = 0;
                flow->end = (size_t) n;
        } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
                flow->ended = true; /* for the master EIO: nobody has the slave open */
        }
}

static void empty(OciTerminalFlow *flow, int fd) {
        ssize_t n = write(fd, flow->data + flow->begin, flow->end - flow->begin);
        if (n > 0)
                flow->begin += (size_t) n;
        else if (n < 0 && errno != EAGAIN && errno != EINTR) {
                flow->ended = true;
                flow->begin = flow->end;
        }
}

void oci_terminal_prepare(const OciTerminal *terminal, struct pollfd polls[OCI_TERMINAL_POLLS]) {
        bool reads_in = is_empty(&terminal->in) && !terminal->in.ended;
        bool reads_out = is_empty(&terminal->out) && !terminal->out.ended;
        polls[0] = (struct pollfd){ .fd = reads_in ? STDIN_FILENO : -1, .events = POLLIN };
        polls[1] = (struct pollfd){
                .fd = terminal->out.ended ? -1 : terminal->master,
                .events = (short) ((reads_out ? POLLIN : 0) | (is_empty(&terminal->in) ? 0 : POLLOUT)),
        };
        polls[2] = (struct pollfd){ .fd = is_empty(&terminal->out) ? -1 : STDOUT_FILENO, .events = POLLOUT };
}

void oci_terminal_move(OciTerminal *terminal, const struct pollfd polls[OCI_TERMINAL_POLLS]) {
        if (polls[0].revents)
                fill(&terminal->in, STDIN_FILENO);
        if (polls[1].revents & POLLOUT)
                empty(&terminal->in, terminal->master);
        if ((polls[1].revents & (POLLIN | POLLHUP | POLLERR)) && is_empty(&terminal->out))
                fill(&terminal->out, terminal->master);
        if (polls[2].revents)
                empty(&terminal->out, STDOUT_FILENO);
}

void oci_terminal_drain(OciTerminal *terminal) {
        for (;;) {
                (void) fd_write_all(STDOUT_FILENO, terminal->out.data + terminal->out.begin,
                                    terminal->out.end - terminal->out.begin);
                terminal->out.begin = terminal->out.end;
                if (terminal->out.ended)
                        return;
                fill(&terminal->out, terminal->master);
                if (is_empty(&terminal->out))
                        return;
        }
}
