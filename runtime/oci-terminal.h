/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A container's terminal on that of the caller: what "run" does with process.terminal and no
 * --console-socket. The caller's goes into raw mode, sizes follow, bytes are carried in both directions. */

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <termios.h>

typedef struct OciTerminalFlow {
        char data[4096];
        size_t begin, end;
        bool ended;
} OciTerminalFlow;

typedef struct OciTerminal {
        int master;
        bool raw; /* saved has to be put back */
        struct termios saved;
        OciTerminalFlow in, out;
} OciTerminal;

#define OCI_TERMINAL_INIT ((OciTerminal){ .master = -EBADF })
#define OCI_TERMINAL_POLLS 3

/* Takes master. */
int oci_terminal_open(int master, OciTerminal *ret);
void oci_terminal_done(OciTerminal *terminal);

/* What to wait for, and what to do when it has come. */
void oci_terminal_prepare(const OciTerminal *terminal, struct pollfd polls[OCI_TERMINAL_POLLS]);
void oci_terminal_move(OciTerminal *terminal, const struct pollfd polls[OCI_TERMINAL_POLLS]);
/* The rest of what the container has written, after its end. */
void oci_terminal_drain(OciTerminal *terminal);
/* On SIGWINCH. */
void oci_terminal_resize(OciTerminal *terminal);
